"""The registrations: names, metadata, and that nothing is read before it is needed."""

from __future__ import annotations

import copy
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata

from fcclip.data.datasets import REGISTERED, coco, pascal, tables
from fcclip.data.datasets.registry import LazyMetadata
from fcclip.data.datasets.tables import category_table, vocabulary_lines
from fcclip.vocabulary import Vocabulary

# name pattern, splits, evaluator, ignore label, number of things, number of classes
PUBLISHED = [
    ("openvocab_coco_2017_{}_panoptic_with_sem_seg", "train val", "coco_panoptic_seg", 255, 80, 133),
    ("openvocab_coco_2017_{}", "train val", "coco", None, 80, None),
    ("openvocab_coco_2017_{}_stuff_sem_seg", "train test", "sem_seg", 255, 0, 171),
    ("openvocab_ade20k_panoptic_{}", "train val", "ade20k_panoptic_seg", 255, 100, 150),
    ("openvocab_ade20k_sem_seg_{}", "train val", "sem_seg", 255, 0, 150),
    ("openvocab_ade20k_instance_{}", "train val", "coco", None, 100, None),
    ("openvocab_ade20k_full_sem_seg_{}", "train val", "sem_seg", 65535, 0, 847),
    ("openvocab_cityscapes_fine_panoptic_{}", "train val", "cityscapes_panoptic_seg", 255, 8, 19),
    ("openvocab_mapillary_vistas_panoptic_{}", "train val", "mapillary_vistas_panoptic_seg", 65, 37, 65),
    ("openvocab_pascal20_sem_seg_{}", "train val", "sem_seg", 255, 0, 20),
    ("openvocab_pascal21_sem_seg_{}", "train val", "sem_seg", 255, 0, 21),
    ("openvocab_pascal_ctx59_sem_seg_{}", "train val", "sem_seg", 255, 0, 59),
    ("openvocab_pascal_ctx459_sem_seg_{}", "train val", "sem_seg", 65535, 0, 459),
    ("openvocab_lvis_v1_{}", "train val", "lvis", None, 1203, None),
]
FLAT = [(pattern.format(split), *rest) for pattern, splits, *rest in PUBLISHED for split in splits.split()]
METADATA_ONLY = [f"openvocab_coco_2017_{split}_panoptic" for split in ("train", "val")]


def test_the_list_is_complete():
    assert {name for name, *_ in FLAT} | set(METADATA_ONLY) <= set(REGISTERED)
    for name in METADATA_ONLY:
        assert name not in DatasetCatalog
        assert len(MetadataCatalog.get(name).thing_classes) == len(MetadataCatalog.get(name).thing_colors) == 80


@pytest.mark.parametrize(("name", "evaluator", "ignore", "things", "classes"), FLAT)
def test_metadata(name, evaluator, ignore, things, classes):
    assert name in DatasetCatalog
    metadata = MetadataCatalog.get(name)
    assert metadata.name == name
    assert metadata.evaluator_type == evaluator
    assert metadata.get("ignore_label") == ignore
    assert len(metadata.thing_dataset_id_to_contiguous_id) == things
    vocabulary = Vocabulary.from_metadata(metadata)
    if classes is None:
        assert metadata.get("stuff_classes") is None
        assert sorted(metadata.thing_dataset_id_to_contiguous_id.values()) == list(range(things))
        assert len(vocabulary) == things
    else:
        assert len(metadata.stuff_classes) == len(metadata.stuff_colors) == len(vocabulary) == classes
        assert len(vocabulary.thing_ids) == things
    if "panoptic" in name:
        assert metadata.label_divisor == 1000
    if metadata.get("vocabulary"):
        strings = dict(vocabulary_lines(metadata.vocabulary))
        listed = metadata.get("stuff_classes") or metadata.thing_classes
        assert [strings[id_] for id_ in metadata.vocabulary_ids] == listed


def test_panoptic_maps():
    """For most sets the stuff map holds every class; Cityscapes' holds stuff only, and its things their training id."""
    coco_val = MetadataCatalog.get("openvocab_coco_2017_val_panoptic_with_sem_seg")
    assert list(coco_val.stuff_dataset_id_to_contiguous_id.values()) == list(range(133))
    assert coco_val.stuff_dataset_id_to_contiguous_id[200] == 132
    assert coco_val.thing_classes == coco_val.stuff_classes[:80]
    assert coco_val.contiguous_id_to_class_name == coco_val.stuff_classes
    cityscapes = MetadataCatalog.get("openvocab_cityscapes_fine_panoptic_val")
    assert cityscapes.thing_dataset_id_to_contiguous_id == {
        **dict(zip(range(24, 29), range(11, 16), strict=True)),
        **dict(zip(range(31, 34), range(16, 19), strict=True)),
    }
    assert sorted(cityscapes.stuff_dataset_id_to_contiguous_id.values()) == list(range(11))
    assert cityscapes.thing_classes == cityscapes.stuff_classes
    mapillary = MetadataCatalog.get("openvocab_mapillary_vistas_panoptic_val")
    assert mapillary.stuff_dataset_id_to_contiguous_id == {id_: id_ - 1 for id_ in range(1, 66)}
    assert mapillary.json_file is None
    assert mapillary.thing_classes == mapillary.stuff_classes


def test_ade20k_instances_have_plain_names():
    """The published numbers were measured with these, a trailing space included."""
    metadata = MetadataCatalog.get("openvocab_ade20k_instance_val")
    assert metadata.thing_classes[:2] == ["bed", "window "]
    assert metadata.thing_dataset_id_to_contiguous_id[7] == 0
    assert metadata.get("vocabulary") is None


def test_voc_without_background():
    with_it = MetadataCatalog.get("openvocab_pascal21_sem_seg_val")
    without = MetadataCatalog.get("openvocab_pascal20_sem_seg_val")
    assert with_it.stuff_classes[1:] == without.stuff_classes
    assert without.stuff_dataset_id_to_contiguous_id == {id_: id_ - 1 for id_ in range(1, 21)}
    assert with_it.stuff_dataset_id_to_contiguous_id[0] == 0
    assert without.stuff_colors[0] == [128, 0, 0]


def test_names_of_tables_and_vocabularies_agree():
    """Row by row, a vocabulary and a table mean the same class: all but a few rows share a spelling."""

    def letters(text: str) -> str:
        return "".join(character for character in text.lower() if character.isalnum())

    for path in sorted(Path(tables.__file__).with_name("categories").glob("*.json")):
        table, lines = category_table(path.stem), vocabulary_lines(path.stem)
        rows = zip(table.names, lines, strict=True)
        agreeing = sum(any(letters(part) in letters(line) for part in name.split(",")) for name, (_, line) in rows)
        assert agreeing >= 0.8 * len(lines), path.stem


def test_coco_tables_are_those_of_detectron2():
    from detectron2.data.datasets.builtin_meta import ADE20K_SEM_SEG_CATEGORIES, CITYSCAPES_CATEGORIES, COCO_CATEGORIES

    for stem, categories in (("coco_panoptic", COCO_CATEGORIES), ("cityscapes", CITYSCAPES_CATEGORIES)):
        table = category_table(stem)
        assert list(table.ids) == [category["id"] for category in categories]
        assert list(table.names) == [category["name"] for category in categories]
        assert list(table.is_thing) == [bool(category["isthing"]) for category in categories]
        assert list(table.colors) == [tuple(category["color"]) for category in categories]
    assert list(category_table("ade20k_150").names) == ADE20K_SEM_SEG_CATEGORIES


def test_paths_follow_the_environment(monkeypatch: pytest.MonkeyPatch):
    metadata = MetadataCatalog.get("openvocab_ade20k_panoptic_val")
    monkeypatch.setenv("DETECTRON2_DATASETS", "/one")
    assert metadata.image_root == "/one/ADEChallengeData2016/images/validation"
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/two")
    assert metadata.panoptic_json == str(Path.home() / "two/ADEChallengeData2016/ade20k_panoptic_val.json")
    assert metadata.as_dict()["sem_seg_root"].startswith(str(Path.home() / "two"))
    monkeypatch.delenv("DETECTRON2_DATASETS")
    assert metadata.json_file == str(Path("datasets/ADEChallengeData2016/ade20k_instance_val.json"))


def test_lazy_metadata_behaves_as_detectron2s():
    calls = []

    def classes() -> dict:
        calls.append(1)
        return {"stuff_classes": ["a", "b"]}

    metadata = LazyMetadata("lazy", classes, {"image_root": "images"})
    assert metadata.name == "lazy"
    assert metadata.image_root.endswith("images")
    assert not calls
    assert metadata.get("nothing", 5) == 5
    assert metadata.stuff_classes == ["a", "b"]
    assert metadata.set(extra=1).extra == 1
    assert calls == [1]
    with pytest.raises(AssertionError):
        metadata.stuff_classes = ["other"]
    with pytest.raises(AttributeError, match="lazy"):
        _ = metadata.nothing
    assert metadata.as_dict() == {
        "name": "lazy",
        "stuff_classes": ["a", "b"],
        "extra": 1,
        "image_root": metadata.image_root,
    }


def test_a_value_may_be_set_before_the_first_is_read():
    metadata = LazyMetadata("lazy", lambda: {"ignore_label": 255}, {})
    metadata.extra = 1
    assert (metadata.extra, metadata.ignore_label) == (1, 255)


def test_lazy_metadata_travels_to_other_processes():
    metadata = LazyMetadata("lazy", lambda: {"stuff_classes": ["a"]}, {"image_root": "images"})
    for twin in (pickle.loads(pickle.dumps(metadata)), copy.deepcopy(metadata)):
        assert type(twin) is Metadata
        assert twin.as_dict() == metadata.as_dict()


def test_registering_again_is_harmless():
    before = set(REGISTERED)
    for module in (coco, pascal):
        importlib.reload(module)
    assert set(REGISTERED) == before


def test_import_opens_no_file_and_draws_no_random_number(tmp_path: Path):
    """Neither a table, nor a vocabulary, nor any dataset is opened before somebody asks for it."""
    program = """
import sys
import numpy as np
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
state = np.random.get_state()[1].copy()
import fcclip.data.datasets
assert (np.random.get_state()[1] == state).all()
print([path for path in opened if "/vocabularies/" in path or "/categories/" in path or sys.argv[1] in path])
from detectron2.data import MetadataCatalog
MetadataCatalog.get("openvocab_coco_2017_val").thing_classes
print(any("/vocabularies/" in path for path in opened))
"""
    environment = {**os.environ, "DETECTRON2_DATASETS": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.split() == ["[]", "True"]


def test_palettes_are_the_same_in_every_run():
    first = category_table("ade20k_847").colors
    category_table.cache_clear()
    assert category_table("ade20k_847").colors == first
