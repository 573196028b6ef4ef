"""Convert checkpoints of ZegCLIP and Cascade-CLIP between the published (mmsegmentation's) layout and this one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fcclip.clip.base import CLIP_PREFIX
from fcclip.clip.loading import load_clip
from fcclip.clip.patches import resize_positions
from fcclip.files.atomic import atomic_path
from fcclip.files.checkpoints import read_entry, read_state_dict
from fcclip.files.fingerprint import fingerprint_tensors
from fcclip.files.places import require_writable_file
from fcclip.mmseg.keys import LOGIT_SCALE, is_ours, is_published, to_ours, to_published
from fcclip.mmseg.layout import expected_keys
from fcclip.weights import CLIP_FINGERPRINT

CLIP_NAME = "ViT-B-16-quickgelu"
PUBLISHED_GRID = 32  # patches along a side of a training crop: 512 / 16
POSITIONS = "visual.positional_embedding"


def convert_checkpoint(source: Path, target: Path, clip: str = "") -> str:
    """Convert a checkpoint to the other layout; which one it has is seen from its names.

    Args:
        source: a published .pth file, or a checkpoint of this package (.pth, .safetensors).
        target: the file to write; .safetensors only in this package's layout.
        clip: where to take the CLIP from if a checkpoint of this package was saved without it: an open_clip tag such as
            "openai", or a file.

    Returns:
        One line that tells what was done.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a checkpoint, is damaged, or lacks or has too many tensors; or the target cannot be
            written.
    """
    if source.resolve() == target.resolve():
        raise ValueError(f"INPUT and OUTPUT are the same file, {source}; choose another OUTPUT")
    require_writable_file(target)
    state = read_state_dict(source)
    if is_published(state):
        _require_whole(state, source)
        converted = to_ours(state)
        save_ours(converted, target)
        return f"{source} -> {target}: {len(state)} tensors, now in the layout of this package"
    if not is_ours(state):
        raise ValueError(
            f"{source} is not a checkpoint of ZegCLIP or Cascade-CLIP, neither as published nor of this package; check "
            "INPUT"
        )
    published = to_published(_with_clip(state, clip, source))
    _require_whole(published, source)
    with atomic_path(target) as scratch:
        torch.save({"meta": {}, "state_dict": published}, scratch)
    return f"{source} -> {target}: {len(published)} tensors, now in the published layout"


def save_ours(state: Mapping[str, Tensor], target: Path) -> None:
    """Write a checkpoint that MODEL.WEIGHTS and `load_weights` take."""
    with atomic_path(target) as scratch:
        if target.suffix == ".safetensors":
            save_file({key: tensor.contiguous() for key, tensor in state.items()}, scratch)
        else:
            torch.save({"model": dict(state)}, scratch)


def _with_clip(state: dict[str, Tensor], clip: str, source: Path) -> dict[str, Tensor]:
    """The state dict with the CLIP that it was trained on, if it was saved without one."""
    if any(key.startswith(CLIP_PREFIX) for key in state):
        return state
    if not clip:
        raise ValueError(
            f"{source} was saved without its frozen CLIP, which the published layout holds; pass --clip openai, or "
            "--clip and the file of its weights"
        )
    tensors = load_clip(CLIP_NAME, clip).model.state_dict()
    positions = tensors[POSITIONS]
    grid = resize_positions(positions[1:], PUBLISHED_GRID, PUBLISHED_GRID)
    tensors[POSITIONS] = torch.cat([positions[:1], grid])
    trained_with = read_entry(source, CLIP_FINGERPRINT)
    if trained_with not in (None, fingerprint_tensors(tensors)):
        raise ValueError(
            f"{source} was trained with another CLIP than {clip}; pass --clip with the one of its training"
        )
    return {**state, **{CLIP_PREFIX + key: tensor for key, tensor in tensors.items()}}


def _require_whole(state: Mapping[str, Tensor], source: Path) -> None:
    """Check the names of a state dict in the published layout."""
    expected = expected_keys(state)
    problems = {
        "lacks": sorted(expected - state.keys()),
        "has too much": sorted(state.keys() - expected - {LOGIT_SCALE}),
    }
    for problem, keys in problems.items():
        if keys:
            raise ValueError(
                f"{source} {problem}: {len(keys)} tensors, such as {keys[0]}; it is not a whole checkpoint of a "
                "published ZegCLIP or Cascade-CLIP"
            )
