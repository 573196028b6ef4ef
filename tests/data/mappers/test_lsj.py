"""Large-scale jitter: the same draws give the masks of a plain, slow writing of the pipeline."""

import json
import pickle

import numpy as np
import pytest
import torch
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import BitMasks
from PIL import Image
from pycocotools import mask as mask_util

from fcclip.config import get_cfg
from fcclip.data.mappers import build_train_mapper
from fcclip.files.panoptic import write_panoptic_png
from tests.data.mappers.samples import SQUARE, TRIANGLE, seed_augmentations, write_record
from tests.shared import SHARED, needs_shared


def make_cfg(name="coco_panoptic_lsj", size=64, **settings):
    cfg = get_cfg()
    cfg.INPUT.DATASET_MAPPER_NAME = name
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.IMAGE_SIZE = size
    for key, value in settings.items():
        setattr(cfg.INPUT, key, value)
    return cfg


def panoptic_slowly(record, cfg, seed):
    """Augment the colour-coded ids as a picture, and compare it with each segment's id in turn."""
    side = cfg.INPUT.IMAGE_SIZE
    seed_augmentations(seed)
    image = detection_utils.read_image(record["file_name"], "RGB")
    augmentations = [
        T.RandomFlip(),
        T.ResizeScale(cfg.INPUT.MIN_SCALE, cfg.INPUT.MAX_SCALE, side, side),
        T.FixedSizeCrop((side, side)),
    ]
    inputs = T.AugInput(image)
    transforms = T.AugmentationList(augmentations)(inputs)
    colours = transforms.apply_segmentation(detection_utils.read_image(record["pan_seg_file_name"], "RGB"))
    ids = colours.astype(np.int64) @ np.array([1, 256, 65536])
    segments = [segment for segment in record["segments_info"] if not segment["iscrowd"]]
    masks = torch.stack([torch.from_numpy(ids == segment["id"]) for segment in segments])
    return inputs.image.transpose(2, 0, 1), masks, [segment["category_id"] for segment in segments]


def check_panoptic(record, cfg, seed):
    image, masks, classes = panoptic_slowly(record, cfg, seed)
    seed_augmentations(seed)
    sample = build_train_mapper(cfg)(record)
    instances = sample["instances"]
    assert np.array_equal(sample["image"].numpy(), image)
    assert sample["image"].dtype == torch.uint8
    assert torch.equal(instances.gt_masks, masks)
    assert instances.gt_masks.dtype == torch.bool
    assert instances.gt_classes.tolist() == classes
    assert torch.equal(instances.gt_boxes.tensor, BitMasks(masks).get_bounding_boxes().tensor)


@pytest.mark.parametrize("seed", range(12))
def test_panoptic_equals_the_plain_writing(tmp_path, seed):
    check_panoptic(write_record(tmp_path, "panoptic"), make_cfg(), seed)


@needs_shared
@pytest.mark.parametrize("image_id", [142238, 439180])
@pytest.mark.parametrize("seed", range(3))
def test_panoptic_equals_the_plain_writing_on_coco(image_id, seed):
    folder = SHARED / "data" / "coco_panoptic_sample"
    annotations = json.loads((folder / "panoptic.json").read_text())["annotations"]
    (annotation,) = [annotation for annotation in annotations if annotation["image_id"] == image_id]
    record = {
        "file_name": str(folder / "images" / f"{image_id:012d}.jpg"),
        "pan_seg_file_name": str(folder / "panoptic" / annotation["file_name"]),
        "segments_info": annotation["segments_info"],
    }
    check_panoptic(record, make_cfg(size=256), seed)


def test_more_segments_than_a_byte_can_tell(tmp_path):
    ids = np.arange(1, 601, dtype=np.int32).reshape(20, 30) * 1000
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    write_panoptic_png(tmp_path / "panoptic.png", ids)
    segments = [{"id": int(i), "category_id": int(i) % 7, "iscrowd": 0} for i in ids.ravel()]
    record = {
        "file_name": str(tmp_path / "image.png"),
        "pan_seg_file_name": str(tmp_path / "panoptic.png"),
        "segments_info": segments,
    }
    check_panoptic(record, make_cfg(size=40), seed=3)


def find_seed_that_loses_a_segment(record, cfg):
    for seed in range(100):
        _, masks, classes = panoptic_slowly(record, cfg, seed)
        shown = masks.flatten(1).any(1)
        if 0 < shown.sum() < len(shown):
            return seed, shown, classes
    raise AssertionError("no crop loses a segment")


def test_vanished_segments_stay_as_empty_masks_unless_dropped(tmp_path):
    record = write_record(tmp_path, "panoptic")
    cfg = make_cfg(MIN_SCALE=3.0, MAX_SCALE=4.0)
    seed, shown, classes = find_seed_that_loses_a_segment(record, cfg)

    seed_augmentations(seed)
    kept = build_train_mapper(cfg)(record)["instances"]
    assert kept.gt_classes.tolist() == classes
    assert not kept.gt_masks[~shown].any()
    assert (kept.gt_boxes.tensor[~shown] == 0).all()

    cfg.INPUT.DROP_VANISHED_SEGMENTS = True
    seed_augmentations(seed)
    dropped = build_train_mapper(cfg)(record)["instances"]
    assert dropped.gt_classes.tolist() == [name for name, is_shown in zip(classes, shown, strict=True) if is_shown]
    assert torch.equal(dropped.gt_masks, kept.gt_masks[shown])


def test_an_image_without_segments(tmp_path):
    record = {**write_record(tmp_path, "panoptic"), "segments_info": []}
    instances = build_train_mapper(make_cfg())(record)["instances"]
    assert instances.gt_masks.shape == (0, 64, 64)
    assert len(instances.gt_classes) == len(instances.gt_boxes) == 0


def test_the_record_is_not_changed_and_the_sample_travels(tmp_path):
    record = write_record(tmp_path, "panoptic")
    before = pickle.dumps(record)
    sample = build_train_mapper(make_cfg())(record)
    assert pickle.dumps(record) == before
    assert (sample["height"], sample["width"], sample["image_id"]) == (60, 90, 3)
    assert "pan_seg_file_name" not in sample
    assert sample["image"].is_contiguous()


def test_bgr_is_the_same_image_with_its_channels_turned(tmp_path):
    record = write_record(tmp_path, "panoptic")
    images = []
    for order in ("RGB", "BGR"):
        seed_augmentations(0)
        images.append(build_train_mapper(make_cfg(FORMAT=order))(record)["image"])
    assert torch.equal(images[0], images[1].flip(0))


def test_instances_are_the_rasterised_polygons_moved_with_the_image(tmp_path):
    record = write_record(tmp_path, "instance")
    cfg = make_cfg("coco_instance_lsj", size=128, MIN_SCALE=0.9, MAX_SCALE=0.9, RANDOM_FLIP="none")
    instances = build_train_mapper(cfg)(record)["instances"]
    scale = 115 / 90  # the longer side becomes 0.9 * 128, rounded
    for polygon, mask in zip((TRIANGLE, SQUARE), instances.gt_masks, strict=True):
        moved = [value * scale for value in polygon]
        expected = mask_util.decode(mask_util.merge(mask_util.frPyObjects([moved], 128, 128)))
        union = (mask.numpy() | (expected > 0)).sum()
        assert (mask.numpy() & (expected > 0)).sum() > 0.97 * union
    assert instances.gt_classes.tolist() == [0, 1]
    assert torch.equal(instances.gt_boxes.tensor, BitMasks(instances.gt_masks).get_bounding_boxes().tensor)


@pytest.mark.parametrize("seed", range(6))
def test_polygons_that_leave_the_crop_equal_a_larger_canvas_cut(tmp_path, seed):
    record = write_record(tmp_path, "instance")
    cfg = make_cfg("coco_instance_lsj", MIN_SCALE=2.5, MAX_SCALE=2.5)
    seed_augmentations(seed)
    instances = build_train_mapper(cfg)(record)["instances"]
    seed_augmentations(seed)
    flip = T.RandomFlip().get_transform(np.zeros((60, 90, 3)))
    T.ResizeScale(2.5, 2.5, 64, 64).get_transform(np.zeros((60, 90, 3)))
    crop = T.FixedSizeCrop((64, 64), pad=False).get_transform(np.zeros((107, 160, 3))).transforms[0]
    masks = []
    for polygon in (TRIANGLE, SQUARE):
        points = flip.apply_coords(np.array(polygon).reshape(-1, 2)) * [160 / 90, 107 / 60]
        canvas = mask_util.decode(mask_util.merge(mask_util.frPyObjects([points.ravel().tolist()], 107, 160)))
        masks.append(crop.apply_segmentation(canvas) > 0)
    masks = [mask for mask in masks if mask.any()]
    assert len(instances) == len(masks)
    for mask, expected in zip(instances.gt_masks.numpy(), masks, strict=True):
        assert (mask != expected).sum() <= 0.01 * expected.sum()


def test_missing_and_damaged_files_are_named(tmp_path):
    record = write_record(tmp_path, "panoptic")
    mapper = build_train_mapper(make_cfg())
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg does not exist"):
        mapper({**record, "file_name": str(tmp_path / "gone.jpg")})
    with pytest.raises(FileNotFoundError, match=r"gone\.png does not exist"):
        mapper({**record, "pan_seg_file_name": str(tmp_path / "gone.png")})
    (tmp_path / "half.png").write_bytes((tmp_path / "image.png").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"half\.png is not a readable image"):
        mapper({**record, "file_name": str(tmp_path / "half.png")})
    with pytest.raises(ValueError, match="90 x 60 pixels, but its annotation says 91 x 60"):
        mapper({**record, "height": 60, "width": 91})


def test_wrong_use_is_explained(tmp_path):
    cfg = make_cfg()
    with pytest.raises(ValueError, match="coco_panoptic_lsj needs"):
        build_train_mapper(cfg)(write_record(tmp_path, "instance"))
    cfg.INPUT.FORMAT = "L"
    with pytest.raises(ValueError, match=r"INPUT\.FORMAT"):
        build_train_mapper(cfg)
