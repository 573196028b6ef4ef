"""COCO-style JSON files of every wrong form end in one sentence that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcclip.files.coco_json import is_id, is_inside, read_categories, read_json_object


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[", "is not a JSON file"),
        (b"[]", "holds a list, not an object"),
        (b"\xff\xfe{}", "is not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_object(tmp_path: Path, content: bytes, says: str):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json.*{says}"):
        read_json_object(path, "panoptic JSON")


def test_missing_files_and_folders(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="panoptic JSON .* does not exist"):
        read_json_object(tmp_path / "none.json", "panoptic JSON")
    with pytest.raises(ValueError, match="is a folder, not a file"):
        read_json_object(tmp_path, "panoptic JSON")


def test_a_byte_order_mark_is_no_content(tmp_path: Path):
    (tmp_path / "a.json").write_text("\ufeff{}", encoding="utf-8")
    assert read_json_object(tmp_path / "a.json", "panoptic JSON") == {}


def test_categories_come_by_id():
    categories = [{"id": 5, "name": "b"}, {"id": -1, "name": "a", "color": [0, 0, 255], "isthing": True}]
    assert list(read_categories({"categories": categories}, Path("a.json"))) == [-1, 5]
    assert read_categories({}, Path("a.json")) == {}


def test_names_that_stay_inside():
    assert all(map(is_inside, ("a.png", "sub/a.png", "..a.png", "a..b")))
    assert not any(map(is_inside, ("", "..", "../a", "a/../../b", "/a", "\\a", "C:a", "C:\\a", "a\0")))
    assert is_id(1)
    assert is_id("a")
    assert not is_id(True)
    assert not is_id(1.0)
    assert not is_id([1])
