"""Annotations that do not fit: every mapper names the file instead of learning nonsense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data import transforms as T
from fvcore.transforms.transform import PadTransform
from pycocotools import mask as rle_codec

from fcclip.data.mappers import TRAIN_MAPPERS
from fcclip.data.mappers.frame import Frame
from fcclip.data.mappers.reading import require_labels
from fcclip.files.panoptic import write_panoptic_png
from tests.data.mappers.samples import HEIGHT, SQUARE, WIDTH, write_record
from tests.data.trees import write_labels
from tests.tiny import tiny_cfg


def mapper(name: str, **settings: Any) -> Any:
    return TRAIN_MAPPERS[name](tiny_cfg(INPUT__DATASET_MAPPER_NAME=name, **settings), True)


def test_every_label_is_a_class_or_ignored():
    labels = np.array([[0, 1, 255]], np.uint8)
    require_labels("a.png", labels, 2, 255)
    require_labels("a.png", np.array([[300, 65535]], np.uint16), 301, 65535)
    for classes, label in ((1, 1), (0, 0)):
        with pytest.raises(
            ValueError, match=rf"label map a\.png has the label {label}, but there are {classes} classes"
        ):
            require_labels("a.png", labels, classes, 255)
    with pytest.raises(ValueError, match="has the label 255"):
        require_labels("a.png", labels, 2, 254)
    with pytest.raises(ValueError, match="has the label -1"):
        require_labels("a.png", np.array([[-1]], np.int32), 2, 255)


@pytest.mark.parametrize("name", ["mask_former_semantic", "zero_shot"])
@pytest.mark.parametrize("classes", [2, 1])
def test_a_label_without_a_class_is_refused(tmp_path: Path, name: str, classes: int):
    record, chosen = write_record(tmp_path, "semantic"), mapper(name)
    chosen.classes = classes
    with pytest.raises(ValueError, match=rf"labels\.png has the label \d, but there are {classes} classes"):
        chosen(record)


def test_zero_shot_training_holds_255_classes():
    from fcclip.data.mappers.zero_shot import ZeroShotMapper

    size = {"long": 8, "short": 8, "scales": (1.0, 1.0), "crop": 8, "largest_share": 1.0, "image_format": "RGB"}
    ZeroShotMapper(**size, classes=255)
    with pytest.raises(ValueError, match="has 256 classes; zero-shot training can hold 255"):
        ZeroShotMapper(**size, classes=256)


def test_16_bit_labels_are_not_cut(tmp_path: Path):
    record, chosen = write_record(tmp_path, "semantic"), mapper("zero_shot")
    write_labels(Path(record["sem_seg_file_name"]), np.full((HEIGHT, WIDTH), 258), np.uint16)
    chosen.classes = 60
    with pytest.raises(ValueError, match="has the label 258"):
        chosen(record)


@pytest.mark.parametrize("name", ["mask_former_semantic", "mask_former_panoptic", "zero_shot"])
def test_label_maps_of_another_size_are_named(tmp_path: Path, name: str):
    record = write_record(tmp_path, "semantic", "panoptic")
    write_labels(Path(record["sem_seg_file_name"]), np.zeros((32, 30), np.uint8))
    with pytest.raises(ValueError, match=r"label map .*labels\.png has size 30 x 32, but its image 90 x 60"):
        mapper(name)(record)


@pytest.mark.parametrize("name", ["coco_panoptic_lsj", "mask_former_panoptic"])
def test_panoptic_pngs_of_another_size_are_named(tmp_path: Path, name: str):
    record = write_record(tmp_path, "panoptic")
    write_panoptic_png(record["pan_seg_file_name"], np.full((32, 30), 7))
    with pytest.raises(ValueError, match=r"image\.png: an annotation is 30 x 32 pixels, but its image 90 x 60"):
        mapper(name)(record)


@pytest.mark.parametrize(
    ("segmentation", "says"),
    [
        ({"size": [32, 30], "counts": [32 * 30]}, "an annotation is 30 x 32 pixels"),
        ([], "has a box but no mask"),
        (None, "has a box but no mask"),
    ],
)
def test_instances_that_do_not_fit_are_named(tmp_path: Path, segmentation: Any, says: str):
    record = write_record(tmp_path, "instance")
    record["annotations"][0]["segmentation"] = segmentation
    with pytest.raises(ValueError, match=rf"image\.png: .*{says}"):
        mapper("coco_instance_lsj")(record)


@pytest.mark.parametrize("padding", [0, 255])
def test_masks_are_the_same_however_detectron2_pads(padding: int):
    """FixedSizeCrop pads segmentations with 0 in Detectron2 0.6 and with 255 on its main branch."""
    pad = PadTransform(0, 0, 10, 20, WIDTH, HEIGHT, 0, padding)
    frame = Frame(T.TransformList([pad]), HEIGHT + 20, WIDTH + 10)
    (encoded,) = rle_codec.frPyObjects([SQUARE], HEIGHT, WIDTH)
    forms = [[SQUARE], encoded, rle_codec.decode(encoded), rle_codec.decode(encoded) * 255]
    masks = [frame.place_segmentation(form) for form in forms]
    assert masks[0].shape == (HEIGHT + 20, WIDTH + 10)
    assert masks[0].sum() == 25 * 25
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
