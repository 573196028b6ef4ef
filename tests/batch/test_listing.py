"""Sources: folders, globs, lists, tar files and tables give the same images under names that stay the same."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from fcclip.batch.items import Item, ItemReader
from fcclip.batch.listing import list_source
from tests.batch.sources import image_bytes, write_images, write_table, write_tar


def ids(source: object) -> list[str]:
    return [item.id for item in list_source(str(source))]


def test_a_folder_and_a_glob(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", 5)
    assert ids(folder) == ["001.png", "002.png", "004.png", "sub/000.png", "sub/003.png"]
    assert ids(folder / "*.png") == ["001.png", "002.png", "004.png"]
    assert ids(folder / "**" / "0*.png") == ["001.png", "002.png", "004.png", "sub/000.png", "sub/003.png"]
    assert ids(folder / "001.png") == ["001.png"]
    assert [item.id for item in list_source(str(folder), str(folder / "sub"))] == ["001.png", "002.png", "004.png"]


def test_a_list_of_paths(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in", 3)
    (tmp_path / "list.txt").write_text(f"in/001.png\n\n{folder}/002.png\ns3://bucket/a/b.jpg\n")
    items = list(list_source(str(tmp_path / "list.txt")))
    assert [item.id for item in items] == ["in/001.png", f"{folder}/002.png".lstrip("/"), "bucket/a/b.jpg"]
    assert items[2].path == "s3://bucket/a/b.jpg"
    assert ItemReader().content(items[0]) == image_bytes(1)


def test_tar_files(tmp_path: Path) -> None:
    write_tar(tmp_path / "train-000.tar", ["a.png", "a.json", "b.png", ".c.png"])
    write_tar(tmp_path / "train-001.tar", ["./a.png"])
    items = list(list_source(str(tmp_path / "train-*.tar")))
    assert [item.id for item in items] == ["train-000/a.png", "train-000/b.png", "train-001/a.png"]
    assert [ItemReader().content(item) for item in items] == [image_bytes(0), image_bytes(2), image_bytes(0)]
    (tmp_path / "bad.tar").write_bytes(b"no tar file at all" * 100)
    with pytest.raises(ValueError, match=r"bad.tar cannot be listed"):
        ids(tmp_path / "bad.tar")


def test_tables(tmp_path: Path) -> None:
    contents = [image_bytes(seed) for seed in range(3)]
    write_images(tmp_path / "in", 3)
    cases = {
        "bytes": ({"bytes": contents, "id": ["x.png", "y.png", "z.png"]}, ["x.png", "y.png", "z.png"]),
        "image": ({"image": [{"bytes": one, "path": None} for one in contents]}, None),
        "path": ({"path": ["in/001.png", "in/002.png"]}, ["in/001.png", "in/002.png"]),
    }
    for name, (columns, expected) in cases.items():
        items = list(list_source(str(write_table(tmp_path / f"{name}.parquet", columns))))
        assert [item.id for item in items] == (
            expected or ["image/00000-000000", "image/00000-000001", "image/00001-000000"]
        )
        wanted = contents if name != "path" else contents[1:]
        assert [ItemReader().content(item) for item in items] == wanted
    with pytest.raises(ValueError, match="has no column path, bytes or image, but other; rename one"):
        ids(write_table(tmp_path / "other.parquet", {"other": [1]}))


def test_nothing_to_segment(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no "):
        ids(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="there are no images in "):
        ids(tmp_path / "empty")
    with pytest.raises(ValueError, match="cannot be reached"):
        ids("nothing://here")


def test_an_image_that_is_missing_or_damaged(tmp_path: Path) -> None:
    reader = ItemReader()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        reader.image(Item("a.png", str(tmp_path / "a.png")))
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="^b.png is not a readable image: cannot identify its format$"):
        reader.image(Item("b.png", str(tmp_path / "b.png")))


def test_the_name_of_the_results() -> None:
    assert [Item(name, "").stem for name in ("a/b.tar/c.d.png", "a/c", ".x")] == ["a/b.tar/c.d", "a/c", ".x"]
