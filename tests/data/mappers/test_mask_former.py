"""MaskFormer's mappers: label maps, panoptic and instance annotations, crops and fixed squares."""

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from PIL import Image
from pycocotools import mask as mask_util

from fcclip.config import get_cfg
from fcclip.data.mappers import TRAIN_MAPPERS, build_train_mapper
from tests.data.mappers.samples import (
    HEIGHT,
    SEGMENTS,
    SQUARE,
    TRIANGLE,
    WIDTH,
    label_map,
    seed_augmentations,
    segment_ids,
    write_record,
)


@pytest.fixture
def cfg():
    name = "mask_former_mapper_test"
    MetadataCatalog.get(name).set(ignore_label=255)
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = (name,)
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TRAIN = (HEIGHT,)
    cfg.INPUT.MAX_SIZE_TRAIN = 1000
    yield cfg
    MetadataCatalog.remove(name)


def run(cfg, name, record, seed=0):
    cfg.INPUT.DATASET_MAPPER_NAME = name
    seed_augmentations(seed)
    return build_train_mapper(cfg)(record)


def unflip(sample, record):
    """The sample's masks as the file has them: whether it was flipped shows in the image."""
    pixels = torch.from_numpy(np.array(Image.open(record["file_name"])).transpose(2, 0, 1))
    masks = sample["instances"].gt_masks
    if torch.equal(sample["image"], pixels):
        return masks
    assert torch.equal(sample["image"].flip(-1), pixels)
    return masks.flip(-1)


@pytest.mark.parametrize("seed", range(3))
def test_semantic_gives_one_mask_a_class(cfg, tmp_path, seed):
    record = write_record(tmp_path, "semantic")
    sample = run(cfg, "mask_former_semantic", record, seed)
    masks = unflip(sample, record)
    assert sample["instances"].gt_classes.tolist() == [0, 1, 2]
    assert torch.equal(masks, torch.stack([torch.from_numpy(label_map() == index) for index in range(3)]))
    flipped = not torch.equal(masks, sample["instances"].gt_masks)
    expected = torch.from_numpy(label_map().astype(np.int64))
    assert torch.equal(sample["sem_seg"], expected.flip(-1) if flipped else expected)


def test_semantic_of_an_unlabelled_image(cfg, tmp_path):
    record = write_record(tmp_path, "semantic")
    Image.fromarray(np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)).save(tmp_path / "labels.png")
    instances = run(cfg, "mask_former_semantic", record)["instances"]
    assert instances.gt_masks.shape == (0, HEIGHT, WIDTH)


def test_label_maps_of_two_bytes_keep_their_large_ids(cfg, tmp_path):
    record = write_record(tmp_path, "semantic")
    MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).__dict__["ignore_label"] = 65535
    labels = label_map().astype(np.uint16) * 300
    labels[label_map() == 255] = 65535
    path = tmp_path / "labels.tif"
    Image.fromarray(labels).save(path)
    record["sem_seg_file_name"] = str(path)
    assert run(cfg, "mask_former_semantic", record)["instances"].gt_classes.tolist() == [0, 300, 600]


def test_fixed_squares_are_padded_with_grey_and_the_ignore_label(cfg, tmp_path):
    cfg.INPUT.SIZE_DIVISIBILITY = 96
    record = write_record(tmp_path, "semantic", "panoptic")
    for name in ("mask_former_semantic", "mask_former_panoptic"):
        sample = run(cfg, name, record)
        assert sample["image"].shape == (3, 96, 96)
        assert (sample["image"][:, HEIGHT:] == 128).all()
        assert (sample["image"][:, :, WIDTH:] == 128).all()
        assert (sample["sem_seg"][HEIGHT:] == 255).all()
        masks = sample["instances"].gt_masks
        assert masks.shape[1:] == (96, 96)
        assert not masks[:, HEIGHT:].any()
        assert not masks[:, :, WIDTH:].any()
    cfg.INPUT.SIZE_DIVISIBILITY = 70
    assert run(cfg, "mask_former_semantic", record)["image"].shape == (3, 70, 70)


@pytest.mark.parametrize("seed", range(3))
def test_panoptic_gives_one_mask_a_segment_but_crowds(cfg, tmp_path, seed):
    record = write_record(tmp_path, "panoptic")
    sample = run(cfg, "mask_former_panoptic", record, seed)
    segments = [segment for segment in SEGMENTS if not segment["iscrowd"]]
    expected = torch.stack([torch.from_numpy(segment_ids() == segment["id"]) for segment in segments])
    assert torch.equal(unflip(sample, record), expected)
    assert sample["instances"].gt_classes.tolist() == [segment["category_id"] for segment in segments]
    assert "sem_seg" not in sample


def test_crops_look_at_the_label_map(cfg, tmp_path):
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE = "absolute", [20, 30]
    cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA = 0.95
    record = write_record(tmp_path, "semantic", "panoptic")
    for seed in range(20):
        sample = run(cfg, "mask_former_panoptic", record, seed)
        assert sample["sem_seg"].shape == sample["instances"].gt_masks.shape[1:] == (20, 30)
        shown = sample["instances"].gt_masks.flatten(1).sum(1)
        assert shown.max() < 0.96 * 600, "one class fills the crop"
    del record["sem_seg_file_name"]
    with pytest.raises(ValueError, match="sem_seg_file_name"):
        run(cfg, "mask_former_panoptic", record)


def test_instance_reads_polygons_run_lengths_and_arrays(cfg, tmp_path):
    record = write_record(tmp_path, "instance")
    triangle, square = (
        mask_util.decode(mask_util.frPyObjects([polygon], HEIGHT, WIDTH))[..., 0] for polygon in (TRIANGLE, SQUARE)
    )
    edges = np.flatnonzero(np.diff(square.ravel(order="F"), prepend=0, append=0))
    runs = np.diff([0, *edges, square.size]).tolist()
    forms = {
        "compressed": mask_util.encode(np.asfortranarray(square)),
        "uncompressed": {"size": [HEIGHT, WIDTH], "counts": runs},
        "array": square.astype(bool),
        "polygon": [SQUARE],
    }
    for form in forms.values():
        record["annotations"][1]["segmentation"] = form
        masks = unflip(run(cfg, "mask_former_instance", record), record)
        assert len(masks) == 2, "the crowd is left out"
        assert torch.equal(masks[1], torch.from_numpy(square > 0)) or form is forms["polygon"]
        assert (masks[1] != torch.from_numpy(square > 0)).sum() <= 30
        assert (masks[0] != torch.from_numpy(triangle > 0)).sum() <= 60
    record["annotations"][1]["segmentation"] = "a square"
    with pytest.raises(ValueError, match="type str"):
        run(cfg, "mask_former_instance", record)


def test_colours_change_and_annotations_do_not(cfg, tmp_path):
    record = write_record(tmp_path, "semantic")
    plain = run(cfg, "mask_former_semantic", record, seed=1)
    cfg.INPUT.COLOR_AUG_SSD = True
    jittered = [run(cfg, "mask_former_semantic", record, seed=1) for _ in range(5)]
    assert any(not torch.equal(sample["image"], plain["image"]) for sample in jittered)
    for sample in jittered:
        assert torch.equal(sample["instances"].gt_masks, plain["instances"].gt_masks)


def test_published_steps_in_the_published_order(cfg):
    cfg.INPUT.CROP.ENABLED = cfg.INPUT.COLOR_AUG_SSD = True
    steps = {
        name: [type(step).__name__ for step in TRAIN_MAPPERS[name](cfg, True).augmentations.augs]
        for name in ("mask_former_semantic", "mask_former_instance")
    }
    assert steps["mask_former_semantic"][0] == T.ResizeShortestEdge.__name__
    assert steps["mask_former_semantic"][1] == T.RandomCrop_CategoryAreaConstraint.__name__
    assert steps["mask_former_instance"][1] == T.RandomCrop.__name__
    assert steps["mask_former_semantic"][-1] == T.RandomFlip.__name__


def test_wrong_use_is_explained(cfg, tmp_path):
    with pytest.raises(ValueError, match="instance annotations, which the mapper mask_former_semantic"):
        run(cfg, "mask_former_semantic", write_record(tmp_path, "semantic", "instance"))
    with pytest.raises(ValueError, match="training samples only"):
        TRAIN_MAPPERS["mask_former_semantic"](cfg, False)
    cfg.INPUT.DATASET_MAPPER_NAME = "coco_panoptic_ljs"
    with pytest.raises(ValueError, match='is "coco_panoptic_ljs"; choose one of coco_panoptic_lsj, .*, detectron2'):
        build_train_mapper(cfg)
    cfg.INPUT.DATASET_MAPPER_NAME = "detectron2"
    assert type(build_train_mapper(cfg)).__name__ == "DatasetMapper"
