"""The package as pip installs it: built from its source archive, used from an empty folder, far from the checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fcclip.registration import NO_DETECTRON2
from tests.tiny import REPOSITORY

SOURCES = ("fcclip", "configs", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "INSTALL.md", "LICENSE")
USE = """
import json
import numpy as np
from fcclip import Segmenter, get_cfg
from fcclip.files.folders import find_config
import fcclip

segmenter = Segmenter.from_pretrained("panoshapes", device="cpu")
segmenter.set_vocabulary("red star; blue circle; grass=stuff")
segmenter.predict(np.full((64, 64, 3), 90, np.uint8)).save("segmented.png")
cfg = get_cfg()
cfg.merge_from_file(str(find_config("configs/coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_coco.yaml")))
print(json.dumps({"file": fcclip.__file__, "model": cfg.MODEL.META_ARCHITECTURE}))
"""
WITHOUT_DETECTRON2 = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name == "detectron2":
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Hidden())
from fcclip.__main__ import main
sys.exit(main(["segment", "photo.jpg"]))
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a source archive, which is built from a copy, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*SOURCES, "requirements.txt"):
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    archived = run("-c", "from setuptools.build_meta import build_sdist; build_sdist('..')", cwd=source)
    assert archived.returncode == 0, archived.stderr
    [archive] = folder.glob("fcclip-*.tar.gz")
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder)
    built = run("-m", "pip", "wheel", *options, archive, cwd=folder)
    assert built.returncode == 0, built.stderr
    [found] = folder.glob("fcclip-*.whl")
    return found


@pytest.fixture(scope="module")
def site(wheel: Path) -> Path:
    """A folder of packages that holds the wheel alone."""
    target = wheel.parent / "site"
    options = ("--quiet", "--no-deps", "--no-index", "--target", target)
    installed = run("-m", "pip", "install", *options, wheel, cwd=wheel.parent)
    assert installed.returncode == 0, installed.stderr
    return target


def test_the_wheel_holds_every_file_and_every_configuration(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    package = {
        path for path in (REPOSITORY / "fcclip").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path.relative_to(REPOSITORY).as_posix() for path in package} <= names
    configs = {path for path in (REPOSITORY / "configs").rglob("*") if path.is_file()}
    assert {f"fcclip/{path.relative_to(REPOSITORY).as_posix()}" for path in configs} <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"fcclip"}, "nothing else is installed"


def test_a_picture_from_an_empty_folder(site: Path, tmp_path: Path) -> None:
    done = run("-c", USE, cwd=tmp_path, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert Path(said["file"]).is_relative_to(site)
    assert said["model"] == "FCCLIP"
    assert (tmp_path / "segmented.png").is_file()


def test_the_command_without_any_other_package(site: Path, tmp_path: Path) -> None:
    """Without the site packages of this Python, as after `pip install --no-deps`."""
    helped = run("-S", "-m", "fcclip", "--help", cwd=tmp_path, PYTHONPATH=str(site))
    assert "segment photographs by the names you give" in helped.stdout
    examined = run("-S", "-m", "fcclip", "doctor", cwd=tmp_path, PYTHONPATH=str(site))
    assert examined.returncode == 1
    assert str(site / "fcclip" / "configs") in examined.stdout
    assert "  python -m fcclip.install_detectron2\n" in examined.stdout
    checked = run("-S", "-m", "fcclip.install_detectron2", "--check", cwd=tmp_path, PYTHONPATH=str(site))
    assert checked.stdout == "detectron2 is not installed\n"


def test_without_detectron2_the_remedy_is_named(site: Path, tmp_path: Path) -> None:
    asked = run("-S", "-c", "import fcclip; fcclip.Segmenter", cwd=tmp_path, PYTHONPATH=str(site))
    started = run("-c", WITHOUT_DETECTRON2, cwd=tmp_path, PYTHONPATH=str(site))
    for done in (asked, started):
        assert done.returncode != 0
        assert NO_DETECTRON2 in done.stderr
