"""The shipped vocabularies: complete, free of repetitions, and safe to parse."""

import json
from importlib.resources import files

import pytest

from fcclip.vocabulary import read_names
from tests.shared import SHARED, needs_shared

FOLDER = files("fcclip") / "data" / "datasets" / "vocabularies"
CLASSES = {
    "coco_panoptic": 133, "coco_stuff": 171, "ade20k_150": 150, "ade20k_847": 847, "cityscapes": 19,
    "mapillary_vistas": 65, "pascal_ctx_59": 59, "pascal_ctx_459": 459, "pascal_voc_21": 21, "lvis_1203": 1203,
    "vipseg": 124, "youtube_vis_2019": 40, "youtube_vis_2021": 40, "ovis": 25,
}  # fmt: skip


def read(stem: str) -> dict[int, list[str]]:
    strings = read_names(str(FOLDER / f"{stem}.txt")).by_id()
    return {index: string.split(",") for index, string in strings.items()}


@pytest.mark.parametrize("stem", CLASSES)
def test_names_are_clean_and_given_once(stem: str) -> None:
    classes = read(stem)
    assert len(classes) == CLASSES[stem]
    names = [name for names in classes.values() for name in names]
    assert [name for name in names if name != name.strip() or not name or set(name) & set(":;=\t")] == []
    folded = [name.casefold() for name in names]
    assert sorted(name for name in set(folded) if folded.count(name) > 1) == []
    assert max(map(len, names)) <= 60


@pytest.mark.parametrize("stem", CLASSES)
def test_most_classes_have_synonyms(stem: str) -> None:
    classes = read(stem)
    assert sum(len(names) > 1 for names in classes.values()) > 0.9 * len(classes)


@pytest.mark.parametrize(("stem", "least", "most"), [
    ("coco_stuff", 130, 171), ("ade20k_150", 51, 90), ("ade20k_847", 80, 160), ("cityscapes", 14, 19),
    ("mapillary_vistas", 20, 32), ("pascal_ctx_59", 45, 59), ("pascal_ctx_459", 70, 120), ("pascal_voc_21", 21, 21),
    ("vipseg", 56, 85), ("youtube_vis_2019", 19, 21), ("youtube_vis_2021", 21, 23), ("ovis", 15, 17),
])  # fmt: skip
def test_classes_known_from_coco_share_a_name_with_it(stem: str, least: int, most: int) -> None:
    """The number of seen classes decides which ensemble weight a class gets; the published lists are near it."""
    known = {name for names in read("coco_panoptic").values() for name in names}
    seen = sum(not known.isdisjoint(names) for names in read(stem).values())
    assert least <= seen <= most


@needs_shared
@pytest.mark.parametrize("stem", CLASSES)
def test_ids_are_those_of_the_datasets(stem: str) -> None:
    if stem == "vipseg":  # its lines are in the order of the model: things, then stuff
        assert list(read(stem)) == list(range(124))
        return
    videos = json.loads((SHARED / "facts" / "vipseg_classes.json").read_text())
    images = json.loads((SHARED / "facts" / "class_names.json").read_text())["vocabularies"]
    expected = images[stem] if stem in images else videos[stem]
    assert list(read(stem)) == [index for index, _ in expected]
