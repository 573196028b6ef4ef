"""Zero-shot splits: classes, and which of them are unseen."""

import json

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from fcclip.data.datasets import REGISTERED
from fcclip.vocabulary import Vocabulary
from tests.shared import SHARED, needs_shared

SPLITS = {
    "zero_shot_voc12_train": (20, "pottedplant sheep sofa train tvmonitor"),
    "zero_shot_voc12_aug": (20, "pottedplant sheep sofa train tvmonitor"),
    "zero_shot_voc12_val": (20, "pottedplant sheep sofa train tvmonitor"),
    "zero_shot_coco_stuff_train": (
        171,
        (
            "cow giraffe suitcase frisbee skateboard carrot scissors cardboard clouds grass playingfield river road "
            "tree wall-concrete"
        ),
    ),
    "zero_shot_context_train": (59, "airplane bed bedclothes boat bottle car cloth cow keyboard plate"),
    "zero_shot_context_zs3net_val": (59, "airplane bird boat cat cow fence keyboard motorbike sofa tvmonitor"),
    "transfer_voc12_val": (20, ""),
    "transfer_context_val": (59, ""),
}


@pytest.mark.parametrize("name", SPLITS)
def test_unseen_classes(name) -> None:
    classes, unseen = SPLITS[name]
    metadata = MetadataCatalog.get(name)
    assert len(metadata.stuff_classes) == classes
    assert [metadata.stuff_classes[index] for index in metadata.get("unseen_classes", [])] == unseen.split()
    assert (metadata.evaluator_type, metadata.ignore_label) == ("sem_seg", 255)
    # One name per class: these models are trained with plain names, not with synonyms.
    assert list(Vocabulary.from_metadata(metadata).names) == metadata.stuff_classes
    assert name in DatasetCatalog


@needs_shared
@pytest.mark.parametrize(
    ("key", "name"),
    [("voc", "zero_shot_voc12_val"), ("coco", "zero_shot_coco_stuff_val"), ("context", "zero_shot_context_val")],
)
def test_published_lists(key, name) -> None:
    published = json.loads((SHARED / "parity/zegclip_cascade/class_lists_cascade.json").read_text())[key]
    metadata = MetadataCatalog.get(name)
    assert metadata.unseen_classes == published["unseen"]
    differences = [pair for pair in zip(metadata.stuff_classes, published["names"], strict=True) if pair[0] != pair[1]]
    # The published embedding of Context's first class is that of the other spelling.
    assert differences == ([("airplane", "aeroplane")] if key == "context" else [])


def test_sizes_of_the_published_training_sets() -> None:
    sizes = [REGISTERED[name].sizes for name in ("zero_shot_voc12_train", "zero_shot_voc12_aug")]
    assert sum(size for (size,) in sizes) == 10582
