"""Fetch a file of weights, and a dataset that is prepared as well, from a server of the test's own.

python tests/faults/fetch.py ADDRESS FOLDER
"""

import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from fcclip.commands import data
from fcclip.data.public_datasets import public_datasets
from fcclip.engine.errors import run_command
from fcclip.files.atomic import write_text
from fcclip.files.download import download
from fcclip.files.sources import Expected, WebSource
from tests.data.trees import pascal_voc
from tests.files.servers import Served, Server

WEIGHTS = "weights.pth"
BYTES = 4 << 20
DATASET = "voc"
PAUSE = 0.01  # seconds between two blocks of 64 kB


def publish(server: Server, folder: Path) -> None:
    """Let a server give what is fetched; `folder` is for the time of the call."""
    server.files[f"/{WEIGHTS}"] = Served(np.random.default_rng(0).bytes(BYTES), pause=PAUSE)
    root = pascal_voc(folder)
    for number in range(300):
        (root / f"VOCdevkit/VOC2012/JPEGImages/more_{number}.jpg").write_bytes(bytes([number % 256]) * 3000)
    for archive in public_datasets()[DATASET].archives:
        packed = folder / archive.name
        with tarfile.open(packed, "w") as opened:
            opened.add(folder / "VOCdevkit", "VOCdevkit")
        server.files[f"/{archive.name}"] = Served(packed.read_bytes(), pause=PAUSE)


def fetch(address: str, folder: Path) -> int:
    """Fetch both; the exit code."""
    download(folder / "weights" / WEIGHTS, [WebSource(f"{address}/{WEIGHTS}")])
    found = public_datasets()[DATASET]
    archives = tuple(
        replace(one, sources=(WebSource(f"{address}/{one.name}"),), expected=Expected(), about=None)
        for one in found.archives
    )
    whole_only = {"val": (), "train": ()}  # nor is the number of images checked, of which the real one has thousands
    data.public_datasets = lambda: {DATASET: replace(found, archives=archives, check=whole_only)}
    code = data.main(["get", DATASET, "--root", str(folder / "datasets"), "--workers", "1"])
    if not code:
        write_text(folder / "done", "")
    return code


if __name__ == "__main__":
    sys.exit(run_command("fetch.py", lambda: fetch(sys.argv[1], Path(sys.argv[2]))))
