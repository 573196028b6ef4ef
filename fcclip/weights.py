"""Loading a model's weights, and knowing which parts of it were never loaded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fcclip.clip.base import ClipBackbone
from fcclip.files.checkpoints import CLIP_FINGERPRINT, CLIP_PREFIX, read_entry, read_state_dict
from fcclip.files.fingerprint import fingerprint_tensors
from fcclip.files.schemes import locate_weights
from fcclip.mmseg.keys import is_published

logger = logging.getLogger(__name__)

# Begin the names of what MAFT+ and OVRCOAT train of CLIP's image tower.
TUNED_TRUNK = ("visual.trunk.stem.", "visual.trunk.stages.", "visual.trunk.norm_pre.")
TEACHER_PREFIXES = ("backbone_t.", "frozen_backbone.")  # a second, frozen CLIP, which their trainings alone use
ADAPTER_PREFIX = "mask_adapter."
MASK_GENERATOR = ("sem_seg_head.", "void_embedding.")  # begin the names of what FC-CLIP trains
CONSTANT_PREFIX = "criterion."  # buffers that follow from the config
# Tensors of an FC-CLIP as wide as its CLIP: as the first stage of the image tower, as the embeddings.
FIRST_STAGE, EMBEDDING = "sem_seg_head.pixel_decoder.adapter_1.weight", "void_embedding.weight"
POOLING = "sem_seg_head.predictor._mask_pooling_proj.1.weight"
QUERIES = "sem_seg_head.predictor.query_feat.weight"
CLIPS = {
    (192, 768): "convnext_large_d_320",
    (128, 640): "convnext_base_w_320",
    (256, 1024): "RN50",
    (256, 512): "RN101",
    (320, 640): "RN50x4",
    (384, 768): "RN50x16",
    (512, 1024): "RN50x64",
    (40, 128): "panoshapes_convnext_atto",
}


# Per system a named model of the zoo, and the folder of its configurations.
MASK_ADAPTER, MASK_ADAPTER_MAFT = "Mask-Adapter on FC-CLIP", "Mask-Adapter on MAFT+"
CONFIGS = "configs/coco/panoptic-segmentation"
REMEDIES = {
    "FC-CLIP": ("fcclip_convnext_large", "fcclip"),
    MASK_ADAPTER: ("fcclip_convnext_large_mask_adapter", "mask_adapter"),
    MASK_ADAPTER_MAFT: ("maftp_convnext_large_mask_adapter", "mask_adapter/maftp"),
    "MAFT+": ("maftp_convnext_large", "maft_plus"),
    "OVRCOAT": ("ovrcoat_convnext_large", "ovrcoat"),
}


@dataclass(frozen=True)
class LoadReport:
    """What a checkpoint lacked and what it had too much: both empty, or `missing` is what is frozen of the CLIP
    or a mask adapter whose training begins.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class WeightState:
    """Which parts of a model hold weights that were loaded or trained, rather than drawn at random.

    Args:
        backbone: the CLIP, which knows where its weights came from.
        allow_random: run all the same.
        has_head: whether there is anything but the CLIP to be trained.
    """

    def __init__(self, backbone: ClipBackbone, allow_random: bool, has_head: bool = True) -> None:
        self._backbone = backbone
        self._allow_random = allow_random
        self._head_is_random = has_head
        self._is_told = False  # that weights are random

    @property
    def random_parts(self) -> list[str]:
        parts = {"CLIP": self._backbone.weights_source is None, "mask generator": self._head_is_random}
        return [part for part, is_random in parts.items() if is_random]

    def update(self, missing_keys: Iterable[str]) -> None:
        """Note that a state dict was loaded which lacked these keys."""
        missing = list(missing_keys)
        from_clip = [key for key in missing if CLIP_PREFIX in key]
        if not from_clip:
            self._backbone.weights_source = "checkpoint"
        if all(CLIP_PREFIX in key or CONSTANT_PREFIX in key for key in missing):
            self._head_is_random = False

    def check(self, training: bool) -> None:
        """Refuse to run on random weights, or warn once if they are allowed; training may start from a random head.

        Raises:
            RuntimeError: naming what is random and how to load it.
        """
        if training and self._backbone.weights_source is not None:
            self._head_is_random = False  # it is being trained
        if not self.random_parts:
            return
        verb = "have" if len(self.random_parts) > 1 else "has"
        fact = f"the {' and the '.join(self.random_parts)} of this model {verb} random weights"
        if not self._allow_random:
            raise RuntimeError(
                f"{fact}; load a checkpoint (MODEL.WEIGHTS, MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS), or set "
                "MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS True to run it all the same"
            )
        if not self._is_told:
            logger.warning("%s, as was asked for: what it finds means nothing", fact)
            self._is_told = True


def load_weights(model: nn.Module, path: str | Path) -> LoadReport:
    """Load a checkpoint: a whole one, or one without the frozen CLIP, as the published ones are.

    Args:
        model: as built from its config; without the CLIP in the checkpoint, its CLIP must have been loaded.
        path: a .pth, .pt, .bin or .safetensors file, read as data only; or "zoo:NAME", a model of `fcclip.zoo`.

    Returns:
        What was missing (nothing, what is frozen of the CLIP, or a mask adapter whose warm-up begins) and unexpected
        (nothing).

    Raises:
        FileNotFoundError: there is no such file.
        DownloadError: a named model could not be fetched.
        ValueError: it is damaged, holds NaN, belongs to another model or was trained with another CLIP; the model is
            left as it was.

    Examples:
        >>> from detectron2.modeling import build_model
        >>> import fcclip
        >>> from fcclip.zoo import find_pretrained
        >>> found = find_pretrained("panoshapes")
        >>> cfg = fcclip.get_cfg()
        >>> cfg.merge_from_file(str(found.config))
        >>> cfg.merge_from_list(["MODEL.WEIGHTS", str(found.weights), "MODEL.DEVICE", "cpu"])
        >>> fcclip.load_weights(build_model(cfg), found.weights).unexpected
        ()
    """
    path = locate_weights(path)
    state = read_state_dict(path)
    if is_published(state):
        raise ValueError(
            f"{path} is a checkpoint as published with mmsegmentation; convert it first: "
            f"python -m fcclip convert {path} OUTPUT"
        )
    expected = model.state_dict()
    tuned = tuple(CLIP_PREFIX + prefix for prefix in getattr(model, "tuned_weights", ()))
    whole = _drop_stale_constants(state, expected)
    teacher = [key for key in whole if key.startswith(TEACHER_PREFIXES)]
    state = {key: tensor for key, tensor in whole.items() if not key.startswith(TEACHER_PREFIXES)}
    missing = tuple(key for key in expected if key not in state)
    unexpected = tuple(key for key in state if key not in expected)
    reshaped = [key for key in state if key in expected and state[key].shape != expected[key].shape]
    lost = [key for key in missing if not key.startswith(CONSTANT_PREFIX)]
    fresh = _fresh(model, state, expected)
    lost = [key for key in lost if key not in fresh]
    if reshaped or unexpected or (teacher and not tuned) or not _may_lack(lost, expected, tuned):
        reason = _explain_misfit(whole, expected, tuned) or _differences(lost, unexpected, reshaped)
        raise ValueError(f"{path} does not fit this model: {reason}")
    _check_types(path, state, expected)
    if lost:
        _check_clip(model, path)
    model.load_state_dict(state, strict=False)
    _log_loaded(path, bool(lost), bool(fresh), teacher)
    return LoadReport(missing, unexpected)


def _log_loaded(path: Path, lacks_clip: bool, lacks_adapter: bool, teacher: Sequence[str]) -> None:
    logger.info("loaded %s%s", path, " (the frozen CLIP was loaded before)" if lacks_clip else "")
    if lacks_adapter:
        logger.info("%s has no mask adapter, which starts from random weights", path)
    if teacher:
        logger.info(
            "left out %d tensors of the frozen teacher (%s), which only training uses", len(teacher), teacher[0]
        )


def load_mask_generator(model: nn.Module, path: str | Path) -> None:
    """Load what FC-CLIP trains from a checkpoint, whatever else it holds: a training of the CLIP too begins with it.

    Raises:
        FileNotFoundError, ValueError: as in `load_weights`.
    """
    state = {key: tensor for key, tensor in read_state_dict(path).items() if key.startswith(MASK_GENERATOR)}
    expected = {key: tensor for key, tensor in model.state_dict().items() if key.startswith(MASK_GENERATOR)}
    missing, unexpected = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    reshaped = [key for key in expected.keys() & state.keys() if state[key].shape != expected[key].shape]
    if missing or unexpected or reshaped:
        raise ValueError(
            f"{path} does not fit the mask generator of this model: {_differences(missing, unexpected, reshaped)}"
        )
    _check_types(path, state, expected)
    model.load_state_dict(state, strict=False)
    logger.info("loaded the mask generator of %s", path)


def _fresh(model: nn.Module, state: dict[str, Tensor], expected: dict[str, Any]) -> set[str]:
    """What a checkpoint need not have: all of the mask adapter, where its training begins."""
    training = getattr(model, "adapter_training", None)
    if training is None or training.pairs is not None or any(key.startswith(ADAPTER_PREFIX) for key in state):
        return set()
    return {key for key in expected if key.startswith(ADAPTER_PREFIX)}


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of all weights and buffers of a module."""
    return fingerprint_tensors(module.state_dict())


def _check_types(path: str | Path, state: dict[str, Tensor], expected: dict[str, Any]) -> None:
    """Whole numbers in the place of weights are no weights."""
    wrong = [key for key in state if state[key].is_floating_point() != expected[key].is_floating_point()]
    if wrong:
        raise ValueError(
            f"{path} does not fit this model: {len(wrong)} tensors are {state[wrong[0]].dtype} instead of "
            f"{expected[wrong[0]].dtype} (e.g. {wrong[0]}); save the weights as floating-point numbers"
        )


def _check_clip(model: nn.Module, path: str | Path) -> None:
    """A mask generator is worth nothing with another CLIP than the one that it was trained on."""
    trained_with = read_entry(path, CLIP_FINGERPRINT)
    if trained_with is None:  # as in the published checkpoints
        return
    backbone: Any = model.backbone
    present = fingerprint(backbone.clip_model)
    if present != trained_with:
        raise ValueError(
            f"{path} was trained with another CLIP (SHA-256 {trained_with[:12]}, this one has {present[:12]}); set "
            "MODEL.FC_CLIP.CLIP_MODEL_NAME and CLIP_PRETRAINED_WEIGHTS to those of its training"
        )


def _drop_stale_constants(state: dict[str, Tensor], expected: dict[str, Any]) -> dict[str, Tensor]:
    """Leave out constants of another config, such as the class weights of a training with more classes."""

    def is_stale(key: str) -> bool:
        return key.startswith(CONSTANT_PREFIX) and key in expected and state[key].shape != expected[key].shape

    return {key: tensor for key, tensor in state.items() if not is_stale(key)}


def _may_lack(lost: Sequence[str], expected: Iterable[str], tuned: tuple[str, ...]) -> bool:
    """Whether a checkpoint may lack these tensors: those of the frozen CLIP, or of the frozen parts of a tuned one."""
    clip = {key for key in expected if key.startswith(CLIP_PREFIX)}
    if tuned:
        return all(key in clip and not key.startswith(tuned) for key in lost)
    return not lost or set(lost) == clip


def _explain_misfit(state: dict[str, Tensor], expected: dict[str, Any], tuned: tuple[str, ...]) -> str:
    """What a checkpoint is, if it is of a known kind that this model is not; else ""."""
    if any(key.startswith("visual.") for key in state):
        return "it is a CLIP alone; give it as MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS"
    theirs, ours = _system(state), _system(expected, is_tuned=bool(tuned))
    name, folder = REMEDIES.get(theirs, ("", ""))
    if theirs != ours and theirs and ours:
        remedy = f"; use --model {name}, or a file of {CONFIGS}/{folder}" if name else ""
        return f"it is a checkpoint of {theirs}, and the configuration is of {ours}{remedy}"
    if tuned and any(key.startswith(tuned) and key not in state for key in expected):
        return (
            f"it lacks CLIP's image trunk ({tuned[0]}... and more), which {ours} fine-tunes; take the whole file of "
            "its authors"
        )
    if not name or not {FIRST_STAGE, EMBEDDING, QUERIES} <= state.keys():
        return ""
    trained_with, present = CLIPS.get(_widths(state)), CLIPS.get(_widths(expected), "another CLIP")
    if trained_with and trained_with != present:
        return (
            f"it was trained with the CLIP {trained_with}, and the configuration has {present}; choose the "
            f"configuration of its CLIP ({CONFIGS}/{folder})"
        )
    if state[QUERIES].shape != expected[QUERIES].shape:
        return f"it has {len(state[QUERIES])} queries; set MODEL.MASK_FORMER.NUM_OBJECT_QUERIES to that"
    return ""


def _system(state: dict[str, Any], is_tuned: bool = False) -> str:
    """Which system the tensors are of; "" if that is not known.

    Args:
        state: names of tensors.
        is_tuned: they are those of a model whose CLIP is fine-tuned, which their names do not tell.
    """
    roots = {key.partition(".")[0] for key in state}
    if "mask_adapter" in roots:
        if "sem_seg_head" not in roots:
            return "Mask-Adapter's first phase, which has no mask generator"
        return MASK_ADAPTER_MAFT if "cdt" in roots else MASK_ADAPTER
    if "cdt" in roots:
        return "MAFT+"
    if POOLING in state:
        return "OVRCOAT" if is_tuned or "frozen_backbone" in roots else "FC-CLIP"
    if QUERIES in state:
        return "Mask2Former, which has no CLIP"
    is_zero_shot = any(key.startswith(("decoder.", "decoders.", "descriptor.")) for key in state)
    return "ZegCLIP or Cascade-CLIP" if is_zero_shot else ""


def _widths(state: dict[str, Any]) -> tuple[int, int]:
    return state[FIRST_STAGE].shape[1], state[EMBEDDING].shape[1]


def _differences(missing: Sequence[str], unexpected: Sequence[str], reshaped: Sequence[str]) -> str:
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": reshaped}
    found = ", ".join(f"{len(keys)} tensors {kind} (e.g. {keys[0]})" for kind, keys in kinds.items() if keys)
    return f"{found}; check the config"
