#!/usr/bin/env python3
"""Do what the Dockerfile says where there is no Docker, in a fresh virtual environment and a clean folder.

    python tools/check_dockerfile.py --build-arg TORCH_INSTALL="torch torchvision"
    python tools/check_dockerfile.py --folder /tmp/image --build-arg TORCH_INSTALL="./torch.whl ./torchvision.whl"

What is left out: the base image (this Python stands in for it), its users, and commands of apt-get. Absolute folders
of the image lie below --folder. In the end the entry point runs `doctor`, and segments a rendered scene by the model
that comes along. Prints the seconds that each step took, and the megabytes that there are after it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LEFT_OUT = ("apt-get", "useradd")
TRIALS = ("doctor", "segment scene.png --model panoshapes --output segmented.png --vocabulary 'red star; snow=stuff'")


@dataclass
class Image:
    """The folder that stands in for an image.

    Attributes:
        root: what is `/` in the image.
        variables: of ARG and ENV.
        work: the present WORKDIR, as named in the image.
        entry: the words of ENTRYPOINT.
    """

    root: Path
    variables: dict[str, str]
    work: str = "/"
    entry: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / self.work.lstrip("/")

    def environment(self) -> dict[str, str]:
        """Nothing of this process but what pip needs to find its index; the image's own Python comes first."""
        kept = {key: value for key, value in os.environ.items() if key.startswith("PIP_") or key.endswith("_proxy")}
        path = f"{self.root / 'venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        own = {key: self._below_root(value) for key, value in self.variables.items()}
        return {**kept, "PATH": path, "HOME": str(self.root / "home"), **own}

    def run(self, command: str) -> None:
        subprocess.run(["sh", "-ec", command], cwd=self.folder, env=self.environment(), check=True)

    def _below_root(self, value: str) -> str:
        return f"{self.root}{value}" if value.startswith("/") else value


def read_instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each with its argument in one line."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    words = [line.split() for line in "\n".join(lines).replace("\\\n", " ").splitlines()]
    return [(name, " ".join(rest)) for name, *rest in filter(None, words)]


def follow(name: str, argument: str, image: Image, build_args: dict[str, str]) -> None:
    """Do one instruction.

    Raises:
        ValueError: it is none that this script knows.
    """
    if name == "ARG":
        key, _, default = argument.partition("=")
        image.variables[key] = build_args.get(key, shlex.split(default)[0] if default else "")
    elif name == "ENV":
        image.variables |= dict(word.split("=", 1) for word in shlex.split(argument))
    elif name == "WORKDIR":
        image.work = argument
        image.folder.mkdir(parents=True, exist_ok=True)
    elif name == "COPY":
        *sources, target = argument.split()
        for source in sources:
            copy(REPOSITORY / source, image.folder / target)
    elif name == "RUN" and not any(word in argument for word in LEFT_OUT):
        image.run(argument)
    elif name == "ENTRYPOINT":
        image.entry = json.loads(argument)
    elif name not in ("FROM", "RUN", "CMD", "USER", "EXPOSE", "HEALTHCHECK"):
        raise ValueError(f"{name} in the Dockerfile is not known to this script")


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def size(folder: Path) -> float:
    """Megabytes in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e6


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="as of docker build")
    parser.add_argument("--folder", type=Path, help="where to work, an empty folder (default: one that is removed)")
    options = parser.parse_args(arguments)
    build_args = dict(argument.split("=", 1) for argument in options.build_arg)
    with tempfile.TemporaryDirectory() as scratch:
        root = (options.folder or Path(scratch)).resolve()
        (root / "home").mkdir(parents=True)
        subprocess.run([sys.executable, "-m", "venv", root / "venv"], check=True)
        image = Image(root, {})
        for name, argument in read_instructions((REPOSITORY / "Dockerfile").read_text(encoding="utf-8")):
            step(f"{name} {argument}", root, partial(follow, name, argument, image, build_args))
        image.run("python -m fcclip.data.panoshapes scene.png")
        for words in TRIALS:
            step(f"fcclip {words}", root, partial(image.run, f"{shlex.join(image.entry)} {words}"))
    return 0


def step(title: str, root: Path, action: Callable[[], None]) -> None:
    """Do it, and print how long it took and how much there is in `root` now."""
    start = time.perf_counter()
    action()
    print(f"{time.perf_counter() - start:6.0f} s {size(root):7.0f} MB  {title[:90]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
