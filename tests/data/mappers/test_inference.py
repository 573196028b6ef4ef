"""The mapper of evaluation reads the image and nothing else."""

import pytest
import torch
from detectron2.data import DatasetMapper

from fcclip.config import get_cfg
from fcclip.data.mappers import InferenceMapper
from tests.data.mappers.samples import seed_augmentations, write_record


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 40, 100
    return cfg


def test_images_equal_those_of_detectron2(cfg, tmp_path):
    record = write_record(tmp_path, "panoptic", "semantic")
    sample, expected = InferenceMapper(cfg)(record), DatasetMapper(cfg, False)(record)
    assert torch.equal(sample["image"], expected["image"])
    assert (sample["height"], sample["width"]) == (expected["height"], expected["width"]) == (60, 90)
    assert sample["file_name"] == record["file_name"]


def test_ground_truth_is_not_even_opened(cfg, tmp_path):
    record = write_record(tmp_path, "panoptic", "semantic")
    for key in ("pan_seg_file_name", "sem_seg_file_name"):
        record[key] = str(tmp_path / "gone.png")
    sample = InferenceMapper(cfg)(record)
    assert sample["image"].shape == (3, 40, 60)
    assert "sem_seg" not in sample


def test_a_missing_image_is_named(cfg, tmp_path):
    record = {**write_record(tmp_path), "file_name": str(tmp_path / "gone.jpg")}
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        InferenceMapper(cfg)(record)


def test_the_size_does_not_depend_on_random_numbers(cfg, tmp_path):
    record = write_record(tmp_path)
    shapes = set()
    for seed in range(3):
        seed_augmentations(seed)
        shapes.add(tuple(InferenceMapper(cfg)(record)["image"].shape))
    assert len(shapes) == 1
