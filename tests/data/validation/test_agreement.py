"""Datasets that are used together agree by name, and what does not is noticed before the work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from detectron2.data import DatasetCatalog

from fcclip.config import get_cfg
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.data.validation.agreement import require_known, require_same_classes, validate_datasets
from tests.data import trees


def entry(folder: Path, name: str, names: str = "cat\ndog\n", **more: Any) -> dict[str, Any]:
    trees.write_image(folder / "images/a.png")
    trees.write_labels(folder / name / "a.png", trees.left_and_right(0, 1))
    (folder / f"{name}.txt").write_text(names)
    paths = {"IMAGES": folder / "images", "LABELS": folder / name, "NAMES": folder / f"{name}.txt"}
    return {"NAME": name, "FORMAT": "label_maps", **{key: str(path) for key, path in paths.items()}, **more}


def config(*entries: dict[str, Any], train: tuple[str, ...] = (), test: tuple[str, ...] = ()) -> Any:
    cfg = get_cfg()
    cfg.DATASETS.CUSTOM, cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = list(entries), train, test
    register_custom_datasets(cfg)
    return cfg


@pytest.mark.parametrize(
    ("names", "more", "says"),
    [
        ("cat\ndog\n", {}, None),
        ("dog\ncat\n", {}, 'class 0 is "cat" in the one and "dog" in the other'),
        ("cat\ndog\nbird\n", {}, "2 and 3 classes"),
        ("cat\ndog=stuff\n", {}, "whose things differ"),
        ("cat\ndog\n", {"IGNORE_LABEL": 254}, "whose ignore label differ: 255 and 254"),
    ],
)
def test_training_sets_agree_by_name(tmp_path: Path, names: str, more: dict[str, Any], says: str | None):
    config(entry(tmp_path, "agree_a"), entry(tmp_path, "agree_b", names, **more))
    if says is None:
        require_same_classes(["agree_a", "agree_b"])
    else:
        with pytest.raises(ValueError, match=rf"agree_a and agree_b, .*{says}"):
            require_same_classes(["agree_a", "agree_b"])


def test_unknown_names_are_noticed_first():
    with pytest.raises(ValueError, match="did you mean openvocab_ade20k_panoptic_val"):
        require_known(["openvocab_coco_2017_val", "openvocab_ade20k_panoptic_vall"])
    with pytest.raises(ValueError, match="--list"):
        require_known(["xyz"])


def test_test_sets_are_loaded_before_a_training(tmp_path: Path):
    cfg = config(entry(tmp_path, "agree_a"), entry(tmp_path, "agree_t"), train=("agree_a",), test=("agree_t",))
    validate_datasets(cfg)
    (tmp_path / "agree_t/a.png").unlink()
    trees.write_labels(tmp_path / "agree_t/b.png", [[0]])
    with pytest.raises(ValueError, match='dataset "agree_t": no image'):
        validate_datasets(cfg)


def test_unseen_classes_want_a_mapper_that_hides_them(tmp_path: Path):
    cfg = config(entry(tmp_path, "agree_u", UNSEEN=["dog"]), train=("agree_u",))
    cfg.INPUT.DATASET_MAPPER_NAME = "mask_former_semantic"
    with pytest.raises(ValueError, match='"agree_u" marks 1 classes as unseen, but .* trains on all of its classes'):
        validate_datasets(cfg)
    cfg.INPUT.DATASET_MAPPER_NAME = "zero_shot"
    validate_datasets(cfg)


def test_label_maps_beside_their_images(tmp_path: Path):
    for stem in ("im0", "im1"):
        trees.write_image(tmp_path / f"all/{stem}.jpg")
        trees.write_labels(tmp_path / f"all/{stem}_mask.png", trees.left_and_right(0, 1))
    both = {"IMAGES": str(tmp_path / "all"), "LABELS": str(tmp_path / "all/../all")}
    config({**entry(tmp_path, "agree_m"), **both})
    records = DatasetCatalog.get("agree_m")
    names = [(Path(record["file_name"]).name, Path(record["sem_seg_file_name"]).name) for record in records]
    assert names == [("im0.jpg", "im0_mask.png"), ("im1.jpg", "im1_mask.png")]


def test_one_folder_without_masks_is_refused(tmp_path: Path):
    trees.write_labels(tmp_path / "all/a.png", trees.left_and_right(0, 1))
    config({**entry(tmp_path, "agree_m"), "IMAGES": str(tmp_path / "all"), "LABELS": str(tmp_path / "all")})
    with pytest.raises(ValueError, match="folder of images and of label maps, but no file in it ends in _mask"):
        DatasetCatalog.get("agree_m")
