"""Say what is installed, which device and which forms of the operators are used, and what is missing.

It needs none of the packages that it asks about. The exit code is 1 if something is missing.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fcclip.files.folders import cache_directory, configs_folder

PACKAGE = Path(__file__).resolve().parents[1]
DETECTRON2_REMEDY = "python -m fcclip.install_detectron2"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        topic: what was looked at.
        state: what was found.
        remedy: what to do about it, where it is wrong.
    """

    topic: str
    state: str
    remedy: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; returns the exit code."""
    argparse.ArgumentParser(
        prog="fcclip doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args(argv)
    findings = examine()
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        print(f"{finding.topic:<{width}}  {finding.state}")
    remedies = list(dict.fromkeys(finding.remedy for finding in findings if finding.remedy))
    print("\nmissing: nothing" if not remedies else "\nmissing:")
    for remedy in remedies:
        print(f"  {remedy}")
    return int(bool(remedies))


def examine() -> list[Finding]:
    """All findings, in the order in which things build on each other."""
    looks: Sequence[Callable[[], Iterator[Finding]]] = (
        _itself,
        _requirements,
        _torch,
        _detectron2,
        _deformable_attention,
        _folders,
    )
    return [finding for look in looks for finding in look()]


def own_version() -> str:
    """The version of the installed package; that of a bare checkout is not known."""
    try:
        return metadata.version("fcclip")
    except metadata.PackageNotFoundError:
        return "(a checkout that is not installed)"


def _itself() -> Iterator[Finding]:
    yield Finding("fcclip", f"{own_version()} in {PACKAGE}")
    configs = configs_folder()
    found = configs.is_dir()
    yield Finding(
        "configurations", str(configs) if found else "none", "" if found else "install fcclip again: pip install ."
    )
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("Python", f"{platform.python_version()} on {machine}")


def _requirements() -> Iterator[Finding]:
    """Whether the packages that pip was to install are there, in versions that were tried."""
    try:
        from packaging.requirements import Requirement

        lines = metadata.requires("fcclip") or []
    except (ImportError, metadata.PackageNotFoundError):
        lacks = "the packages that fcclip needs: pip install -r requirements.txt"
        yield Finding(
            "requirements", "not known, because fcclip was not installed by pip", "" if _can_import("torch") else lacks
        )
        return
    wrong = []
    wanted = [requirement for requirement in map(Requirement, lines) if requirement.marker is None]
    for requirement in wanted:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append((requirement, "is not installed"))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wrong.append((requirement, f"is {version}"))
    yield Finding("requirements", f"{len(wanted) - len(wrong)} of {len(wanted)} as wanted")
    for requirement, state in wrong:
        yield Finding(
            f"  {requirement.name}", f"{state}, wanted {requirement.specifier}", f"pip install '{requirement}'"
        )


def _torch() -> Iterator[Finding]:
    torch, error = _import("torch")
    if torch is None:
        yield Finding("PyTorch", error, "pip install torch torchvision")
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    yield Finding("PyTorch", f"{torch.__version__} ({build})")
    vision, error = _import("torchvision")
    yield Finding("torchvision", vision.__version__ if vision else error, "" if vision else "pip install torchvision")
    if not torch.cuda.is_available():
        yield Finding("device", f"cpu, {torch.get_num_threads()} threads; PyTorch finds no GPU")
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding("device", f"cuda:{index}, {properties.name}, {properties.total_memory / 2**30:.0f} GiB")


def _detectron2() -> Iterator[Finding]:
    if not _can_import("detectron2"):
        yield Finding("Detectron2", "not installed", DETECTRON2_REMEDY)
        return
    detectron2, error = _import("detectron2")
    if detectron2 is None:
        yield Finding("Detectron2", error, "the packages that Detectron2 needs: pip install -r requirements.txt")
        return
    operators = importlib.util.find_spec("detectron2._C")
    is_compiled = operators is not None and not str(operators.origin).endswith(".py")
    build = "an official build" if is_compiled else "pure Python, which is all that this project needs"
    yield Finding("Detectron2", f"{detectron2.__version__}, {build}, in {Path(detectron2.__file__).parent}")


def _deformable_attention() -> Iterator[Finding]:
    if not (_can_import("torch") and _can_import("detectron2")):
        return
    import torch

    public, error = _import("fcclip.public")
    if public is None:
        yield Finding("models", error, f"import fcclip fails: {error}")
        return
    from fcclip.modeling.deformable.backends import choose_backend

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    choice = choose_backend("auto", device)
    yield Finding("deformable attention", choice)
    if device.type == "cuda" and choice != "triton" and not (shutil.which("gcc") or shutil.which("clang")):
        yield Finding("C compiler", "none", "gcc or clang, so that Triton's kernels work on the GPU")


def _folders() -> Iterator[Finding]:
    cache = cache_directory()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if os.access(existing, os.W_OK):
        yield Finding("cache folder", f"{cache}, {shutil.disk_usage(existing).free / 1e9:.0f} GB free")
    else:
        yield Finding("cache folder", f"{cache} cannot be written", "set FCCLIP_CACHE to a folder that can be written")
    yield Finding("checkpoints", _list_files(cache / "weights") or "none fetched; fcclip models lists what there is")
    datasets = Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))
    yield Finding("datasets", f"{datasets}{'' if datasets.is_dir() else ', which is not there'}")


def _list_files(folder: Path) -> str:
    files = sorted(path for path in folder.glob("*") if path.suffix in (".pth", ".safetensors", ".pt", ".bin"))
    return ", ".join(f"{path.name} ({path.stat().st_size / 1e6:.0f} MB)" for path in files)


def _can_import(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _import(name: str) -> tuple[Any, str]:
    """The module, or None and why not."""
    if not _can_import(name):
        return None, "not installed"
    try:
        return importlib.import_module(name), ""
    except Exception as error:  # noqa: BLE001 - a broken installation can fail in any way, and it is to be told
        return None, f"cannot be imported ({type(error).__name__}: {error})".splitlines()[0]
