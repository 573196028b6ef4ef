"""The published augmentations, pixel by pixel, and the samples that go to the model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcclip.data.mappers import build_train_mapper
from fcclip.data.mappers.photometric import random_crop
from fcclip.data.mappers.zero_shot import ZeroShotMapper
from tests.shared import SHARED, needs_shared
from tests.zero_shot import zero_shot_cfg

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


def mapper(crop: int = 64) -> ZeroShotMapper:
    return ZeroShotMapper(long=256, short=64, scales=(0.5, 2.0), crop=crop, largest_share=0.75, image_format="RGB")


@needs_shared
@pytest.mark.parametrize("seed", range(6))
def test_published_augmentations(seed) -> None:
    recorded = np.load(SHARED / "parity/zegclip_cascade/pipeline_reference.npz")
    np.random.seed(seed)  # noqa: NPY002, the generator of the published code
    image, labels = mapper().augment(recorded["img"], recorded["seg"])
    height, width = labels.shape
    normalised = (image[..., ::-1].astype(np.float32) - MEAN.astype(np.float32)) / STD.astype(np.float32)
    expected, expected_labels = recorded[f"train_img_seed{seed}"], recorded[f"train_seg_seed{seed}"]
    np.testing.assert_allclose(normalised, expected[:height, :width], atol=1e-5)
    np.testing.assert_array_equal(labels, expected_labels[:height, :width])
    # What is missing is padding, which the model adds.
    assert (expected[height:] == 0).all()
    assert (expected_labels[:, width:] == 255).all()


def test_a_crop_shows_two_classes() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[:, 40:] = 1
    labels[:10] = 255
    image = np.repeat(labels[..., None], 3, axis=2)
    shares = []
    for seed in range(20):
        np.random.seed(seed)  # noqa: NPY002
        cropped, part = random_crop(image, labels, 32, 0.75)
        np.testing.assert_array_equal(cropped[..., 0], part)
        counts = np.bincount(part[part != 255], minlength=2)
        shares.append(counts.max() / counts.sum())
    assert np.mean(np.array(shares) < 0.75) > 0.9


@pytest.fixture
def record(tmp_path) -> dict[str, str]:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (50, 70, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(rng.integers(0, 20, (50, 70), dtype=np.uint8)).save(tmp_path / "labels.png")
    return {"file_name": str(tmp_path / "a.png"), "sem_seg_file_name": str(tmp_path / "labels.png")}


def test_sample(record) -> None:
    cfg = zero_shot_cfg(INPUT__DATASET_MAPPER_NAME="zero_shot", INPUT__MIN_SIZE_TRAIN=(96,), INPUT__FORMAT="RGB")
    chosen = build_train_mapper(cfg)
    assert isinstance(chosen, ZeroShotMapper)
    sample = chosen(record)
    assert (sample["height"], sample["width"]) == (50, 70)
    assert sample["image"].shape[1:] == sample["sem_seg"].shape
    assert max(sample["sem_seg"].shape) <= 128
    assert sample["image"].dtype == torch.uint8
    assert sample["sem_seg"].dtype == torch.int64
    assert "sem_seg_file_name" not in sample


def test_channel_order(record) -> None:
    samples = []
    for order in ("RGB", "BGR"):
        np.random.seed(3)  # noqa: NPY002
        chosen = mapper()
        chosen.image_format = order
        samples.append(chosen(record)["image"])
    assert torch.equal(samples[0], samples[1].flip(0))


def test_unusable_records(record, tmp_path) -> None:
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match=r"small\.png has size 9 x 9, but its image 70 x 50"):
        mapper()({**record, "sem_seg_file_name": str(tmp_path / "small.png")})
    with pytest.raises(ValueError, match="zero_shot"):
        mapper()({"file_name": record["file_name"]})
    with pytest.raises(FileNotFoundError, match=r"no\.png"):
        mapper()({**record, "sem_seg_file_name": str(Path(tmp_path) / "no.png")})


def test_other_ignore_label(record) -> None:
    Image.fromarray(np.full((50, 70), 7, np.uint8)).save(record["sem_seg_file_name"])
    chosen = mapper()
    chosen.ignore_label = 7
    assert (chosen(record)["sem_seg"] == 255).all()


@pytest.mark.parametrize("distort", [False, True])
def test_colours_are_kept_where_the_configuration_says_so(record, distort) -> None:
    cfg = zero_shot_cfg(INPUT__DATASET_MAPPER_NAME="zero_shot", INPUT__DISTORT_COLORS=distort)
    chosen = build_train_mapper(cfg)
    image, labels = np.full((96, 96, 3), (30, 90, 200), np.uint8), np.zeros((96, 96), np.uint8)
    np.random.seed(1)  # noqa: NPY002
    changed, _ = chosen.augment(image, labels)
    assert (changed == (30, 90, 200)).all() != distort
