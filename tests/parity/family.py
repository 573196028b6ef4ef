"""The recorded runs of FC-CLIP's successors: our models with the same weights, and what was recorded."""

import importlib.util
from functools import cache
from typing import Any

import torch
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model

from fcclip import FCCLIP, get_cfg
from fcclip.files.checkpoints import CLIP_PREFIX
from tests.shared import SHARED
from tests.tiny import PUBLISHED_CONFIGS

FOLDER = SHARED / "parity" / "family"
DROPPED = ("backbone_t.", "frozen_backbone.", "criterion.")


@cache
def recipe() -> Any:
    """The module that says how weights were drawn by tensor name."""
    spec = importlib.util.spec_from_file_location("seeded_family", FOLDER / "seeded_family.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recorded(name: str) -> dict[str, Any]:
    return torch.load(FOLDER / f"{name}.pt", weights_only=True)


def family_cfg(reference: dict[str, Any]) -> Any:
    """The published ADE20K configuration of FC-CLIP, changed to that of a recording."""
    seeded = recipe()
    classes = {
        "family_train": (seeded.TRAIN_CLASSES, seeded.TRAIN_THINGS),
        "family_test": (seeded.TEST_CLASSES, seeded.TEST_THINGS),
    }
    for name, (strings, things) in classes.items():
        MetadataCatalog.pop(name, None)
        MetadataCatalog.get(name).set(
            stuff_classes=strings, thing_dataset_id_to_contiguous_id={index: index for index in things}
        )
    cfg = get_cfg()
    cfg.merge_from_file(str(PUBLISHED_CONFIGS / "fcclip_convnext_large_eval_ade20k.yaml"))
    values, system = reference["config"], reference["system"]
    cfg.MODEL.DEVICE = "cpu"
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("family_train",), ("family_test",)
    cfg.TEST.DETECTIONS_PER_IMAGE = 100
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(seeded.TRAIN_CLASSES)
    clip, mask_former = cfg.MODEL.FC_CLIP, cfg.MODEL.MASK_FORMER
    clip.CLIP_MODEL_NAME, clip.CLIP_PRETRAINED_WEIGHTS, clip.EMBED_DIM = reference["name"], "", reference["dim"]
    clip.ALLOW_RANDOM_WEIGHTS, clip.TEXT_CACHE = True, False
    clip.GEOMETRIC_ENSEMBLE_ALPHA, clip.GEOMETRIC_ENSEMBLE_BETA = values["alpha"], values["beta"]
    mask_former.NUM_OBJECT_QUERIES = values["queries"]
    for key in ("overlap_threshold", "object_mask_threshold", "semantic_on", "panoptic_on", "instance_on"):
        mask_former.TEST[key.upper()] = values[key]
    if system.startswith("mask_adapter"):
        cfg.MODEL.MASK_ADAPTER.NAME = "MASKAdapterHead"
        cfg.MODEL.MASK_ADAPTER.MASK_THRESHOLD = values["mask_threshold"]
    if "maft" in system:
        cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.cdt_params = "MAFT_Plus", [reference["dim"], 8]
        cfg.MODEL.rc_weights = values["rc_weights"]
    if system == "ovrcoat":
        cfg.MODEL.META_ARCHITECTURE = "OVRCOAT"
        cfg.MODEL.OVRCOAT.CLIP_TRUST_WEIGHT = values["clip_trust_weight"]
        cfg.MODEL.BACKBONE.FREEZE, cfg.TRAIN.LOSSES = False, ["oov_ce"]
        cfg.MODEL.OVRCOAT.CE_WEIGHT, cfg.MODEL.OVRCOAT.DIST_WEIGHT, cfg.MODEL.OVRCOAT.RC_WEIGHTS = 0.1, 0.02, 0.1
    return cfg


def seeded_model(reference: dict[str, Any], clip_is_seeded: bool = False) -> FCCLIP:
    """A model of a recording's kind and weights, in eval mode.

    Args:
        reference: the recording.
        clip_is_seeded: the weights of the CLIP that it is built with are those of a model of the same kind.
    """
    model = build_model(family_cfg(reference)).eval()
    state = model.state_dict()
    for key, tensor in state.items():
        if not (clip_is_seeded and key.startswith(CLIP_PREFIX)):
            state[key] = recipe().seeded_tensor(key, tensor).to(tensor.dtype)
    model.load_state_dict(state)
    return model
