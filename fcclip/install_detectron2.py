"""Install Detectron2 as a pure-Python wheel, where no official build is present.

Detectron2 has no release on the package index, and its repository needs a compiler. The index does hold
`pb1-detectron2 0.6`: a source archive whose Python files are those of the tag v0.6, without the C++ sources. This
script fetches that archive through pip, checks its digest, mends the few lines that today's NumPy, Pillow and
setuptools no longer accept, and installs the result as a wheel named `detectron2`. Nothing of the archive is run,
except for the metadata step that pip itself performs.

An importable Detectron2 is always kept: an official build is better than this one.

    python -m fcclip.install_detectron2            # install if there is none
    python -m fcclip.install_detectron2 --check    # only say what is there
    python -m fcclip.install_detectron2 --wheel-dir DIR    # build the wheel, do not install it
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import importlib.util
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

SOURCE = "pb1-detectron2==0.6"
SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
VERSION = "0.6+purepython"
PROJECTS = {
    "projects/PointRend/point_rend": "detectron2/projects/point_rend",
    "projects/DeepLab/deeplab": "detectron2/projects/deeplab",
    "projects/Panoptic-DeepLab/panoptic_deeplab": "detectron2/projects/panoptic_deeplab",
}
REQUIREMENTS = (
    "cloudpickle",
    "fvcore>=0.1.5,<0.1.6",
    "hydra-core>=1.1",
    "iopath>=0.1.7,<0.1.10",
    "matplotlib",
    "omegaconf>=2.1,<2.4",
    "pillow>=7.1",
    "pycocotools>=2.0.2",
    "tabulate",
    "tensorboard",
    "termcolor>=1.1",
    "tqdm>4.29.0",
    "yacs>=0.1.8",
)

# Stands in for the compiled extension. Detectron2 asks for the compiler when it prints its environment; everything
# else fails when used, and COCO evaluation (patched below) falls back to pycocotools.
COMPILED_EXTENSION = '''\
"""Detectron2's compiled operators are not part of this pure-Python build."""


def get_compiler_version():
    return "none (pure-Python build)"


def get_cuda_version():
    return "none (pure-Python build)"


def has_cuda():
    return False


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"detectron2._C.{name} needs compiled code, which this pure-Python build of Detectron2 does not have; "
        "install an official build: https://detectron2.readthedocs.io/tutorials/install.html"
    )
'''

NUMPY_ALIAS = re.compile(r"\bnp\.(float|int|bool|str|object)\b(?!_)")
EDITS: dict[str, list[tuple[str, str]]] = {
    "detectron2/data/transforms/transform.py": [("Image.LINEAR", "Image.BILINEAR")],
    "detectron2/evaluation/coco_evaluation.py": [
        (
            "from detectron2.evaluation.fast_eval_api import COCOeval_opt\n",
            "COCOeval_opt = COCOeval  # the compiled scorer is not part of this build\n",
        )
    ],
    "detectron2/model_zoo/model_zoo.py": [
        ("import pkg_resources\n", "from importlib.resources import files\n"),
        (
            (
                'pkg_resources.resource_filename(\n        "detectron2.model_zoo", '
                'os.path.join("configs", config_path)\n    )'
            ),
            'str(files("detectron2.model_zoo").joinpath("configs", config_path))',
        ),
    ],
}


class InstallError(RuntimeError):
    """A step failed in a way the user can act on."""


def find_detectron2() -> str | None:
    """Version and folder of the importable Detectron2, or None."""
    spec = importlib.util.find_spec("detectron2")
    if spec is None or not spec.origin:
        return None
    code = "import detectron2; print(detectron2.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        if reason.startswith("ModuleNotFoundError") and "detectron2" not in reason:
            raise InstallError(
                f"the Detectron2 in {Path(spec.origin).parent} lacks a package that it needs ({reason}); "
                "install the requirements with 'pip install -r requirements.txt'"
            )
        raise InstallError(
            f"the Detectron2 in {Path(spec.origin).parent} cannot be imported ({reason}); "
            "remove it with 'pip uninstall detectron2' and run this script again"
        )
    return f"{done.stdout.strip()} in {Path(spec.origin).parent}"


def run_pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(f"'pip {arguments[0]}' failed:\n{_cause(done.stdout + done.stderr)}")


def _cause(output: str) -> str:
    """The end of what pip printed, with the last error of a program that it ran, which may stand far above it."""
    lines = output.strip().splitlines()
    errors = [line for line in lines[:-8] if re.match(r"\s*\w*Error: ", line)]
    return "\n".join([*errors[-1:], *lines[-8:]])


def download_source(folder: Path) -> Path:
    """Fetch the source archive with pip, which compares its digest before it runs anything of it."""
    if importlib.util.find_spec("torch") is None:
        raise InstallError("install torch first (pip install torch torchvision): the archive's metadata step needs it")
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{SOURCE} --hash=sha256:{SHA256}\n")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-binary", ":all:", "--require-hashes"]
    try:
        run_pip("download", *options, "--requirement", str(wanted), "--dest", str(folder))
    except InstallError as error:
        if "DO NOT MATCH THE HASHES" not in str(error):
            raise
        digest = re.search(r"Got\s+(\w+)", str(error))
        raise InstallError(
            f"the archive {SOURCE} of your package index has SHA-256 {digest[1] if digest else 'unknown'}, expected "
            f"{SHA256}; it is not the known archive, and nothing of it was run"
        ) from None
    archives = sorted(folder.glob("*.tar.gz"))
    if len(archives) != 1:
        raise InstallError(f"pip left {len(archives)} archives of {SOURCE} in {folder}, expected one")
    return archives[0]


def package_path(path: PurePosixPath) -> str | None:
    """Where a file of the archive goes in the wheel; None if it stays out."""
    inner = PurePosixPath(*path.parts[1:])
    if inner.parts[:1] == ("detectron2",):
        return str(inner)
    for source, target in PROJECTS.items():
        if inner.is_relative_to(source):
            return str(PurePosixPath(target) / inner.relative_to(source))
    return None


def mend(name: str, text: str) -> str:
    """Apply the edits that today's libraries need to one Python file."""
    text = NUMPY_ALIAS.sub(lambda match: match.group(1), text)
    for old, new in EDITS.get(name, []):
        if old not in text:
            raise InstallError(f"{name} lacks the expected text {old!r}")
        text = text.replace(old, new)
    return text


def read_package(archive: Path) -> dict[str, bytes]:
    """The files of the wheel, mended, by their path in it."""
    files = {"detectron2/_C.py": COMPILED_EXTENSION.encode()}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            name = package_path(PurePosixPath(member.name)) if member.isfile() else None
            if name is None:
                continue
            stream = tar.extractfile(member)
            assert stream is not None  # a regular file
            data = stream.read()
            files[name] = mend(name, data.decode()).encode() if name.endswith(".py") else data
    missing = [name for name in EDITS if name not in files]
    if missing:
        raise InstallError(f"the archive lacks {', '.join(missing)}")
    return files


def build_wheel(archive: Path, folder: Path) -> Path:
    """Write `detectron2-0.6+purepython-py3-none-any.whl` into `folder`."""
    files = read_package(archive)
    info = f"detectron2-{VERSION}.dist-info"
    requires = "".join(f"Requires-Dist: {requirement}\n" for requirement in REQUIREMENTS)
    files[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: detectron2\nVersion: {VERSION}\n"
        "Summary: Detectron2 v0.6 without compiled operators\n"
        f"License: Apache-2.0\nRequires-Python: >=3.8\n{requires}"
    ).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: fcclip\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(data)}\n")
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    wheel = folder / f"detectron2-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in files.items():
            target.writestr(zipfile.ZipInfo(name, date_time=(2021, 11, 15, 0, 0, 0)), data)
    return wheel


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only say which Detectron2 is there; exit 1 if none")
    parser.add_argument("--wheel-dir", type=Path, metavar="DIR", help="write the wheel into DIR, install nothing")
    options = parser.parse_args(arguments)
    try:
        if options.wheel_dir is None:
            found = find_detectron2()
            if found or options.check:
                print(f"detectron2 {found}" if found else "detectron2 is not installed")
                return 0 if found else 1
        with tempfile.TemporaryDirectory() as scratch:
            target = options.wheel_dir or Path(scratch)
            target.mkdir(parents=True, exist_ok=True)
            wheel = build_wheel(download_source(Path(scratch)), target)
            if options.wheel_dir is not None:
                print(f"wrote {wheel}")
                return 0
            run_pip("install", "--quiet", "--no-deps", str(wheel))
        print(f"installed detectron2 {VERSION}")
        return 0
    except InstallError as error:
        print(f"install_detectron2: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
