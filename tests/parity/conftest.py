"""The recorded outputs of the published system with a ResNet-50 CLIP, and our model with the same weights."""

from typing import Any

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from fcclip import FCCLIP, get_cfg
from tests.parity.rn50 import FOLDER, TEST_CLASSES, TEST_THINGS, TRAIN_CLASSES, seeding
from tests.tiny import PUBLISHED_CONFIGS


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return torch.load(FOLDER / "fcclip_rn50" / "reference.pt", weights_only=True)


@pytest.fixture(scope="module")
def model() -> FCCLIP:
    classes = {"parity_train": (TRAIN_CLASSES, range(3)), "parity_test": (TEST_CLASSES, TEST_THINGS)}
    for name, (strings, things) in classes.items():
        MetadataCatalog.pop(name, None)
        MetadataCatalog.get(name).set(
            stuff_classes=strings, thing_dataset_id_to_contiguous_id={index: index for index in things}
        )
    assert "parity_train" not in DatasetCatalog
    cfg = get_cfg()
    cfg.merge_from_file(str(PUBLISHED_CONFIGS / "fcclip_convnext_large_eval_ade20k.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("parity_train",), ("parity_test",)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(TRAIN_CLASSES)
    cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME, cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = "RN50", ""
    cfg.MODEL.FC_CLIP.EMBED_DIM = 1024
    cfg.MODEL.FC_CLIP.ENSEMBLE_ON_VALID_MASK = True
    cfg.MODEL.FC_CLIP.TEXT_CACHE = False
    cfg.MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD = 0.02
    model = build_model(cfg)
    seeding().seed_model(model)
    return model.eval()
