"""Formats by name."""

from pathlib import Path

import pytest

from fcclip.formats.names import FORMATS
from fcclip.formats.registry import open_format
from fcclip.formats.writer import WriterOptions
from tests.formats.samples import sample


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_what_it_says(tmp_path: Path, name: str) -> None:
    files = sample().export(tmp_path, name, "sub/photo.jpg")
    assert files
    written = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert written == sorted(files)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'no format "coco"; choose from coco-panoptic'):
        open_format("coco", tmp_path)
    with pytest.raises(ValueError, match="tolerance"):
        WriterOptions(tolerance=-1)
    writer = open_format("labelme", tmp_path)
    writer.add(sample(), "a.jpg")
    with pytest.raises(ValueError, match="would both be written"):
        writer.add(sample(), "a.png")
