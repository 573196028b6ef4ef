"""Small models of every system that can be exported, and the same models with PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode

from fcclip.export import Runtime
from fcclip.export.write import EXPORTER_WORKS, NEEDED, ExportOptions, export_model
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Vocabulary
from tests.tiny import tiny_cfg
from tests.zero_shot import CLIP, zero_shot_cfg

SYSTEMS = ("convnext", "resnet", "ZegCLIP", "CascadeCLIP")
needs_exporter = pytest.mark.skipif(
    not EXPORTER_WORKS or not all(find_spec(name) for name in (*NEEDED, "onnxruntime")),
    reason="what the extra `export` installs is not there, or older",
)
GIVEN = Vocabulary.from_string("red circle, cross; blue square; grass=stuff")  # with which they are exported


@dataclass(frozen=True)
class Pair:
    """An exported model, and what it was made of."""

    folder: Path
    runtime: Runtime
    segmenter: Segmenter


def export_small(system: str, folder: Path, options: ExportOptions | None = None) -> Pair:
    """Export a small model of random weights whose masks are many and sure of nothing, so that all of them compete."""
    cfg = small_cfg(system, folder.parent)
    torch.manual_seed(0)
    export_model(cfg, folder, options or ExportOptions(vocabulary=GIVEN, name=system))
    torch.manual_seed(0)
    return Pair(folder, Runtime(folder, threads=1), Segmenter.from_cfg(cfg))


def small_cfg(system: str, folder: Path) -> CfgNode:
    """A system with as few layers as have all paths."""
    if system in ("convnext", "resnet"):
        return tiny_cfg(
            system,
            MODEL__MASK_FORMER__DEC_LAYERS=3 if system == "convnext" else 2,
            MODEL__MASK_FORMER__TEST__OBJECT_MASK_THRESHOLD=0.0,
            MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.0,
            MODEL__FC_CLIP__TEXT_CACHE=False,
            INPUT__MIN_SIZE_TEST=64,
        )
    description = json.loads(CLIP.read_text())
    description["vision_cfg"]["layers"] = 3
    path = folder / "three_blocks.json"
    path.write_text(json.dumps(description))
    groups = {"MODEL__ZERO_SHOT__BLOCK_GROUPS": [[0, 1], [2]]} if system == "CascadeCLIP" else {}
    return zero_shot_cfg(
        system,
        MODEL__FC_CLIP__CLIP_MODEL_NAME=str(path),
        MODEL__ZERO_SHOT__CROP_SIZE=96,
        MODEL__ZERO_SHOT__STRIDE=64,
        MODEL__ZERO_SHOT__SEEN_PENALTY=0.01,
        INPUT__MIN_SIZE_TEST=80,
        INPUT__MAX_SIZE_TEST=400,
        **groups,
    )


def picture(height: int, width: int) -> np.ndarray:
    """Noise in patches, so that masks have an inside."""
    coarse = np.random.default_rng(height * width).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].copy()
