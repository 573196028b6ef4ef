"""SBD's annotations as additional training images of VOC 2012, from its own files and from PNGs made of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fcclip.data.prepare.jobs import Options
from fcclip.data.prepare.pascal_voc_aug import prepare, read_classes_mat
from tests.data.trees import left_and_right, write_image, write_labels

STEMS = ["2008_000001", "2008_000002", "2008_000003", "2008_000004"]


@pytest.fixture
def root(tmp_path) -> Path:
    """Four annotated images, of which VOC itself has the first two."""
    lists = tmp_path / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2008_000001\n")
    (lists / "val.txt").write_text("2008_000002\n")
    for stem in STEMS:
        write_image(tmp_path / f"VOCdevkit/VOC2012/JPEGImages/{stem}.jpg")
    return tmp_path


def write_sbd(root: Path) -> None:
    dataset = root / "VOCdevkit/VOCaug/dataset"
    (dataset / "cls").mkdir(parents=True)
    (dataset / "train.txt").write_text("\n".join(STEMS[::2]))
    (dataset / "val.txt").write_text("\n".join(STEMS[1::2]))
    for stem in STEMS:
        savemat(dataset / f"cls/{stem}.mat", {"GTcls": {"Segmentation": left_and_right(0, 20).astype(np.uint8)}})


def write_pngs(root: Path) -> None:
    for stem in STEMS:
        write_labels(root / f"VOCdevkit/VOC2012/SegmentationClassAug/{stem}.png", left_and_right(0, 20))


@pytest.mark.parametrize("write", [write_sbd, write_pngs])
def test_labels_of_additional_images(root, write) -> None:
    write(root)
    outputs = prepare(Options(root, 0))
    assert [output.written for output in outputs] == [2, 2]
    labels = root / "pascal_voc_d2/annotations_pascal20/training_aug"
    assert sorted(path.stem for path in labels.iterdir()) == STEMS[2:]
    with Image.open(labels / "2008_000003.png") as image:
        np.testing.assert_array_equal(np.asarray(image), left_and_right(255, 19))
    assert [output.written for output in prepare(Options(root, 0))] == [0, 0]


def test_nothing_to_prepare_from(root) -> None:
    with pytest.raises(FileNotFoundError, match="unpack SBD"):
        prepare(Options(root, 0))


def test_damaged_file_is_named(tmp_path) -> None:
    (tmp_path / "a.mat").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"a\.mat is not a readable MATLAB file"):
        read_classes_mat(tmp_path / "a.mat")
    with pytest.raises(FileNotFoundError, match="unpack SBD"):
        read_classes_mat(tmp_path / "b.mat")
