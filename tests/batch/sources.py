"""Small sources of images, and the command that segments them with a tiny model."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fcclip.__main__ import main
from tests.tiny import write_tiny_config

NAMES = "red star; blue circle; grass=stuff"


def image_bytes(seed: int, height: int = 24, width: int = 32) -> bytes:
    """A PNG of coloured noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels.repeat(8, 0).repeat(8, 1)).save(buffer, "PNG")
    return buffer.getvalue()


def write_images(folder: Path, count: int) -> Path:
    """A folder of images, some in a sub-folder, and a file that is none."""
    for number in range(count):
        path = folder / ("sub" if number % 3 == 0 else "") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_bytes(number))
    (folder / "notes.md").write_text("no image")
    (folder / ".hidden.png").write_bytes(image_bytes(0))
    return folder


def write_tar(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(names):
            content = image_bytes(number) if name.endswith(".png") else b"{}"
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def write_table(path: Path, columns: dict[str, list[Any]], group: int = 2) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def predict(source: object, target: object, folder: Path, *words: str) -> int:
    """Run `fcclip predict`; `folder` is where the configuration is written."""
    config = write_tiny_config(folder)
    names = ["--vocabulary", NAMES] if "--vocabulary" not in words else []
    return main(["predict", str(source), "--output", str(target), "--config-file", str(config), *names, *words])


def manifest(target: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((target / "manifest.json").read_text())
    assert found["total"] == found["done"] + found["failed"] + found["skipped"]
    return found


def index(target: Path) -> list[dict[str, Any]]:
    """All records of the index, in the order of their ids."""
    rows: list[dict[str, Any]] = pq.read_table(target / "index.parquet").to_pylist()
    return sorted(rows, key=lambda row: row["id"])


def panoptic_pngs(target: Path) -> dict[str, bytes]:
    """PNGs of all tar files by name; none may be there twice."""
    found: dict[str, bytes] = {}
    for path in sorted((target / "shards").glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                assert file is not None
                assert member.name not in found
                found[member.name] = file.read()
    return found
