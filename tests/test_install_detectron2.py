import hashlib
import importlib.util
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.tiny import REPOSITORY

SCRIPT = REPOSITORY / "fcclip" / "install_detectron2.py"
FILES = {
    "detectron2/__init__.py": "__version__ = '0.6'\n",
    "detectron2/data/transforms/transform.py": "interp=Image.LINEAR\nx.astype(np.bool), np.bool_, np.int32, np.float\n",
    "detectron2/evaluation/coco_evaluation.py": "from detectron2.evaluation.fast_eval_api import COCOeval_opt\n",
    "detectron2/model_zoo/model_zoo.py": (
        "import pkg_resources\nf = pkg_resources.resource_filename(\n"
        '        "detectron2.model_zoo", os.path.join("configs", config_path)\n    )\n'
    ),
    "projects/DeepLab/deeplab/__init__.py": "",
    "setup.py": "raise SystemExit('never run')",
}


@pytest.fixture(scope="module")
def installer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fcclip.install_detectron2", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(folder: Path, files: dict[str, str]) -> Path:
    path = folder / "pb1-detectron2-0.6.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"pb1-detectron2-0.6/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def test_wheel_holds_the_mended_package(installer, tmp_path) -> None:
    wheel = installer.build_wheel(archive(tmp_path, FILES), tmp_path)
    with zipfile.ZipFile(wheel) as found:
        names = found.namelist()
        transform = found.read("detectron2/data/transforms/transform.py").decode()
        zoo = found.read("detectron2/model_zoo/model_zoo.py").decode()
        coco = found.read("detectron2/evaluation/coco_evaluation.py").decode()
        record = found.read("detectron2-0.6+purepython.dist-info/RECORD").decode()
    assert transform == "interp=Image.BILINEAR\nx.astype(bool), np.bool_, np.int32, float\n"
    assert "pkg_resources" not in zoo
    assert "fast_eval_api" not in coco
    assert "detectron2/projects/deeplab/__init__.py" in names
    assert not any("setup.py" in name for name in names)
    assert all(name in record for name in names)


def test_compiled_operators_fail_with_the_remedy(installer, tmp_path) -> None:
    module = ModuleType("_C")
    exec(installer.COMPILED_EXTENSION, module.__dict__)
    assert module.get_compiler_version() == "none (pure-Python build)"
    with pytest.raises(AttributeError, match=r"deform_conv_forward needs compiled code.*install an official build"):
        module.deform_conv_forward  # noqa: B018


def test_nothing_of_an_unknown_archive_is_run(installer, tmp_path, monkeypatch) -> None:
    ran = tmp_path / "setup_py_ran"
    setup = "from setuptools import setup\nsetup(name='pb1-detectron2', version='0.6', packages=[])\n"
    program = f"open({str(ran)!r}, 'w')\n{setup}"
    package = "Metadata-Version: 2.1\nName: pb1-detectron2\nVersion: 0.6\n"
    path = archive(tmp_path, {**FILES, "setup.py": program, "PKG-INFO": package})
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(tmp_path)), ("CONFIG_FILE", "/dev/null")):
        monkeypatch.setenv(f"PIP_{name}", value)
    target = tmp_path / "target"
    target.mkdir()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(
        installer.InstallError, match=rf"has SHA-256 {digest}, expected 5d2e9e51.*nothing of it was run"
    ):
        installer.download_source(target)
    assert not ran.exists()
    monkeypatch.setattr(installer, "SHA256", digest)
    assert installer.download_source(target).read_bytes() == path.read_bytes()
    assert ran.exists(), "pip runs the setup.py of a known archive, for its metadata"


def test_the_cause_of_a_failure_is_shown_wherever_it_stands(installer) -> None:
    output = "\n".join(["ModuleNotFoundError: No module named 'pkg_resources'", *["more"] * 20, "hint: See above"])
    assert installer._cause(output).splitlines()[0] == "ModuleNotFoundError: No module named 'pkg_resources'"
    assert installer._cause(output).splitlines()[-1] == "hint: See above"


def test_changed_source_is_noticed(installer, tmp_path) -> None:
    changed = {**FILES, "detectron2/evaluation/coco_evaluation.py": "pass\n"}
    with pytest.raises(installer.InstallError, match=r"coco_evaluation.py lacks the expected text"):
        installer.build_wheel(archive(tmp_path, changed), tmp_path)
    del changed["detectron2/evaluation/coco_evaluation.py"]
    with pytest.raises(installer.InstallError, match=r"the archive lacks .*coco_evaluation.py"):
        installer.build_wheel(archive(tmp_path, changed), tmp_path)


def test_present_build_is_kept() -> None:
    for arguments in ([], ["--check"]):
        done = subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("detectron2 ")
        assert "installed" not in done.stdout


def test_one_sentence_when_pip_fails(installer, monkeypatch, capsys) -> None:
    monkeypatch.setattr(installer, "find_detectron2", lambda: None)

    def fail(*_: str) -> None:
        raise installer.InstallError("'pip download' failed:\nno network")

    monkeypatch.setattr(installer, "run_pip", fail)
    assert installer.main([]) == 1
    assert capsys.readouterr().err == "install_detectron2: 'pip download' failed:\nno network\n"


def test_missing_requirement_is_named(installer, monkeypatch, capsys) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "Traceback\nModuleNotFoundError: No module named 'fvcore'\n")
    monkeypatch.setattr(installer.subprocess, "run", lambda *_, **__: failed)
    assert installer.main(["--check"]) == 1
    assert "No module named 'fvcore'); install the requirements with 'pip install -r" in capsys.readouterr().err


def test_what_pip_said_last_is_told(installer, monkeypatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "Collecting\n", "ERROR: No matching distribution found\n")
    monkeypatch.setattr(installer.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(installer.InstallError, match=r"'pip download' failed:\n(.*\n)*ERROR: No matching distribution"):
        installer.run_pip("download", "nothing")
