"""Datasets of one's own: DATASETS.CUSTOM from a file and from the command line, and every mistake in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog

from fcclip.config import get_cfg
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.files.images import read_label_map
from fcclip.files.panoptic import write_panoptic_png
from fcclip.vocabulary import Vocabulary
from tests.data import trees


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def register(*entries: Any) -> list[str]:
    cfg = get_cfg()
    cfg.DATASETS.CUSTOM = list(entries)
    return register_custom_datasets(cfg)


def panoptic(root: Path, **changes: Any) -> dict[str, Any]:
    """A panoptic dataset with categories 5 (stuff, with a colour) and 9 (thing), listed in the other order."""
    trees.write_image(root / "mine/images/shot one.png")
    (root / "mine/panoptic").mkdir()
    ids = trees.left_and_right(1, 2)
    write_panoptic_png(root / "mine/panoptic/a.png", ids)
    segments = [{"id": 1, "category_id": 9, "area": 24}, {"id": 2, "category_id": 5, "area": 24}]
    content = {
        "images": [{"id": 17, "file_name": "shot one.png", "height": trees.HEIGHT, "width": trees.WIDTH}],
        "annotations": [{"image_id": 17, "file_name": "a.png", "segments_info": segments}],
        "categories": [
            {"id": 9, "name": "forklift", "isthing": 1},
            {"id": 5, "name": "floor", "isthing": 0, "color": [1, 2, 3]},
        ],
    }
    trees.write_json(root / "mine/panoptic.json", content)
    entry = {"NAME": "test_custom_panoptic", "FORMAT": "coco_panoptic", "IMAGES": "mine/images"}
    return {**entry, "PANOPTIC": "mine/panoptic", "JSON": "mine/panoptic.json", **changes}


def label_maps(root: Path, **changes: Any) -> dict[str, Any]:
    trees.write_image(root / "mine/images/a.jpg")
    trees.write_labels(root / "mine/labels/a.png", trees.left_and_right(0, 1))
    (root / "mine/names.txt").write_text("# what we inspect\nsteel,metal=stuff\nrust, corrosion\n")
    entry = {"NAME": "test_custom_labels", "FORMAT": "label_maps", "IMAGES": "mine/images", "LABELS": "mine/labels"}
    return {**entry, "NAMES": "mine/names.txt", **changes}


def instances(root: Path, **changes: Any) -> dict[str, Any]:
    trees.write_image(root / "mine/images/a.jpg")
    image = {"id": 1, "file_name": "a.jpg", "height": trees.HEIGHT, "width": trees.WIDTH}
    categories = [{"id": 30, "name": "bolt"}, {"id": 20, "name": "nut"}]
    annotations = [trees.coco_object(1, 1, 30)]
    content = {"images": [image], "annotations": annotations, "categories": categories}
    trees.write_json(root / "mine/instances.json", content)
    entry = {"NAME": "test_custom_instances", "FORMAT": "coco_instance", "IMAGES": "mine/images"}
    return {**entry, "JSON": "mine/instances.json", **changes}


def test_coco_panoptic(root: Path):
    assert register(panoptic(root)) == ["test_custom_panoptic"]
    metadata = MetadataCatalog.get("test_custom_panoptic")
    assert metadata.stuff_classes == ["floor", "forklift"]
    assert metadata.thing_classes == ["forklift"]
    assert metadata.stuff_colors[0] == [1, 2, 3]
    assert metadata.evaluator_type == "coco_panoptic_seg"
    assert metadata.panoptic_json == str(root / "mine/panoptic.json")
    assert metadata.get("json_file") is None
    (record,) = DatasetCatalog.get("test_custom_panoptic")
    assert record["file_name"] == str(root / "mine/images/shot one.png")
    assert record["image_id"] == 17
    assert [(s["category_id"], s["isthing"]) for s in record["segments_info"]] == [(1, True), (0, False)]
    assert "sem_seg_file_name" not in record


@pytest.mark.parametrize(
    "names", ["floor,concrete floor\nforklift,lift truck\n", "9:forklift,lift truck\n5:floor,concrete floor"]
)
def test_names_replace_those_of_the_json(root: Path, names: str):
    (root / "names.txt").write_text(names)
    register(panoptic(root, NAMES="names.txt"))
    metadata = MetadataCatalog.get("test_custom_panoptic")
    assert metadata.stuff_classes == ["floor,concrete floor", "forklift,lift truck"]


def test_coco_instance(root: Path):
    register(instances(root))
    metadata = MetadataCatalog.get("test_custom_instances")
    assert metadata.thing_classes == ["nut", "bolt"]
    assert metadata.json_file == str(root / "mine/instances.json")
    (record,) = DatasetCatalog.get("test_custom_instances")
    assert [annotation["category_id"] for annotation in record["annotations"]] == [1]


def test_label_maps(root: Path):
    register(label_maps(root, IGNORE_LABEL=254))
    metadata = MetadataCatalog.get("test_custom_labels")
    assert metadata.stuff_classes == ["steel,metal", "rust,corrosion"]
    assert metadata.ignore_label == 254
    assert Vocabulary.from_metadata(metadata).thing_ids == {1}
    (record,) = DatasetCatalog.get("test_custom_labels")
    assert np.unique(read_label_map(Path(record["sem_seg_file_name"]))).tolist() == [0, 1]


def test_two_files_for_one_image_are_refused(root: Path):
    register(label_maps(root))
    trees.write_image(root / "mine/images/a.png")
    with pytest.raises(ValueError, match=r"mine/images has a\.jpg and a\.png; a name may occur once"):
        DatasetCatalog.get("test_custom_labels")


def test_unseen_classes_of_label_maps(root: Path):
    register(label_maps(root, UNSEEN=["corrosion"]))
    assert MetadataCatalog.get("test_custom_labels").unseen_classes == [1]
    register(label_maps(root))
    assert MetadataCatalog.get("test_custom_labels").get("unseen_classes") is None
    register(label_maps(root, UNSEEN=["gold"]))
    with pytest.raises(ValueError, match='has no class "gold", which UNSEEN lists'):
        MetadataCatalog.get("test_custom_labels").stuff_classes  # noqa: B018
    with pytest.raises(ValueError, match="UNSEEN should be a list of class names"):
        register(label_maps(root, UNSEEN="rust"))


def test_from_a_file_and_the_command_line(root: Path):
    """Lists of mappings survive YAML, overrides, cloning and the dump that training writes."""
    path = root / "config.yaml"
    entry = label_maps(root)
    path.write_text(yaml.safe_dump({"DATASETS": {"CUSTOM": [entry], "TRAIN": ["test_custom_labels"]}}))
    cfg = get_cfg()
    cfg.merge_from_file(str(path))
    cfg.freeze()
    assert register_custom_datasets(cfg) == ["test_custom_labels"]
    again = get_cfg()
    (root / "dump.yaml").write_text(cfg.clone().dump())
    again.merge_from_file(str(root / "dump.yaml"))
    assert [entry] == again.DATASETS.CUSTOM
    again.merge_from_list(["DATASETS.CUSTOM", str([{**entry, "NAME": "test_custom_other"}])])
    assert register_custom_datasets(again) == ["test_custom_other"]
    assert len(DatasetCatalog.get("test_custom_other")) == 1


def test_absolute_paths_and_home(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    entry = label_maps(root)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DETECTRON2_DATASETS", "/nowhere")
    register({**entry, "IMAGES": "~/mine/images", "LABELS": str(tmp_path / "mine/labels"), "NAMES": "~/mine/names.txt"})
    assert len(DatasetCatalog.get("test_custom_labels")) == 1
    assert len(MetadataCatalog.get("test_custom_labels").stuff_classes) == 2


def test_registering_reads_nothing_and_may_be_repeated(root: Path):
    entry = {"NAME": "test_custom_absent", "FORMAT": "coco_instance", "IMAGES": "no/images", "JSON": "no/file.json"}
    register(entry)
    register(entry)
    with pytest.raises(FileNotFoundError, match=r"no/images.*no/file.json.*Correct IMAGES, JSON"):
        DatasetCatalog.get("test_custom_absent")
    with pytest.raises(FileNotFoundError, match=r"no/file\.json does not exist"):
        _ = MetadataCatalog.get("test_custom_absent").thing_classes


GOOD = {"NAME": "test_custom_wrong", "FORMAT": "label_maps", "IMAGES": "i", "LABELS": "l", "NAMES": "n"}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("a string", "should be a mapping"),
        ({"FORMAT": "label_maps"}, "needs a NAME"),
        ({**GOOD, "NAME": 3}, "needs a NAME"),
        ({**GOOD, "FORMAT": "voc"}, "coco_panoptic, coco_instance, label_maps, it is 'voc'"),
        ({**GOOD, "NAME": "coco_2017_val"}, "belongs to another dataset"),
        ({**GOOD, "NAME": "openvocab_ade20k_panoptic_val"}, "belongs to another dataset"),
        ({**GOOD, "LABEL": "x"}, "no key LABEL; it needs IMAGES, LABELS, NAMES and may have IGNORE_LABEL, UNSEEN"),
        ({**GOOD, "JSON": "x"}, "no key JSON"),
        ({key: value for key, value in GOOD.items() if key != "LABELS"}, "needs LABELS"),
        ({**GOOD, "NAMES": ""}, "needs NAMES"),
        ({**GOOD, "IMAGES": ["a", "b"]}, "IMAGES should be a path"),
        ({**GOOD, "IGNORE_LABEL": "none"}, "IGNORE_LABEL should be a number"),
        ({**GOOD, "IGNORE_LABEL": -1}, "IGNORE_LABEL should be a number"),
    ],
)
def test_a_wrong_entry_is_told(entry: Any, says: str):
    with pytest.raises(ValueError, match=r"DATASETS\.CUSTOM\[0\]") as error:
        register(entry)
    assert says in str(error.value)
    assert "test_custom_wrong" not in DatasetCatalog


def test_the_same_name_twice_is_told():
    with pytest.raises(ValueError, match="twice"):
        register(GOOD, GOOD)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("steel\nsteel\n", "given twice"),
        ("0:steel\nrust\n", "1 of 2 lines begin with a number"),
        ("1:steel\n1:rust\n", "the number 1 is given twice"),
        ("1:steel\n2:rust\n", "prepare_own_label_maps.py"),
        ("steel,,metal\nrust\n", "empty name"),
        ("", "names no class"),
    ],
)
def test_a_wrong_file_of_names_is_told(root: Path, names: str, says: str):
    entry = label_maps(root)
    (root / "mine/names.txt").write_text(names)
    register(entry)
    with pytest.raises(ValueError, match=r"names\.txt") as error:
        _ = MetadataCatalog.get("test_custom_labels").stuff_classes
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("names", "says"),
    [("floor\n", "names 1 classes, but the JSON file lists 2"), ("5:floor\n6:lift\n", "only one of them has 6")],
)
def test_names_that_do_not_fit_the_json_are_told(root: Path, names: str, says: str):
    (root / "names.txt").write_text(names)
    register(panoptic(root, NAMES="names.txt"))
    with pytest.raises(ValueError, match=says):
        _ = MetadataCatalog.get("test_custom_panoptic").stuff_classes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("no json", "is not a JSON file"),
        ("{}", '"categories"'),
        ('{"categories": [{"id": 1}]}', '"name"'),
        ('{"categories": [{"id": 1, "name": "a"}]}', '"isthing"'),
    ],
)
def test_a_wrong_json_is_told(root: Path, content: str, says: str):
    entry = panoptic(root)
    (root / "mine/panoptic.json").write_text(content)
    register(entry)
    with pytest.raises(ValueError, match=r"mine/panoptic\.json") as error:
        _ = MetadataCatalog.get("test_custom_panoptic").stuff_classes
    assert says in str(error.value)


def test_the_ignore_label_must_not_be_a_class(root: Path):
    register(label_maps(root, IGNORE_LABEL=1))
    with pytest.raises(ValueError, match="IGNORE_LABEL"):
        _ = MetadataCatalog.get("test_custom_labels").stuff_classes
