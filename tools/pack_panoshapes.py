#!/usr/bin/env python3
"""Pack CLIP and head of PanoShapes into the file that the package ships: half precision, trained tokens only."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import open_clip
from detectron2.modeling import build_model
from safetensors.torch import save_file

from fcclip import load_weights
from fcclip.clip.base import CLIP_PREFIX
from fcclip.commands.errors import run_tool
from fcclip.config import load_inference_cfg
from fcclip.data.panoshapes.captions import all_words
from fcclip.evaluation.loop import evaluate
from fcclip.files.atomic import atomic_path, write_json
from fcclip.files.checkpoints import read_state_dict
from fcclip.files.packed_weights import pack_rows
from fcclip.text import TEMPLATES
from fcclip.zoo import find_pretrained

QUALITY = "quality.json"
TEST_SET = "panoshapes_mini_all_panoptic"
TOKENS = f"{CLIP_PREFIX}token_embedding.weight"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clip", type=Path, default=Path("output/panoshapes_clip/clip.safetensors"), metavar="FILE")
    parser.add_argument("--head", type=Path, default=Path("output/panoshapes_fcclip/model_final.pth"), metavar="FILE")
    parser.add_argument("--config", type=Path, default=Path("configs/panoshapes/fcclip_small.yaml"), metavar="FILE")
    parser.add_argument("--output", type=Path, default=Path("fcclip/assets/panoshapes"), metavar="FOLDER")
    args = parser.parse_args()
    state = {f"{CLIP_PREFIX}{key}": tensor for key, tensor in read_state_dict(args.clip).items()}
    state |= {key: tensor for key, tensor in read_state_dict(args.head).items() if not key.startswith(CLIP_PREFIX)}
    packed = pack_rows({key: t.half() if t.is_floating_point() else t for key, t in state.items()}, TOKENS, tokens())
    with atomic_path(args.output / "fcclip_small.safetensors") as scratch:
        save_file({key: tensor.contiguous() for key, tensor in packed.items()}, scratch)
    shutil.copyfile(args.config, args.output / "fcclip_small.yaml")
    size = (args.output / "fcclip_small.safetensors").stat().st_size
    quality = measure(args.output)
    write_json(args.output / QUALITY, {"dataset": TEST_SET, **quality}, indent=1)
    print(f"{args.output}: {size / 1e6:.1f} MB, {len(packed[TOKENS])} of {len(state[TOKENS])} tokens, {quality}")


def measure(folder: Path) -> dict[str, float]:
    """Panoptic quality of a packed model on the first scenes of the validation set, on the CPU."""
    found = find_pretrained(folder)
    results = ("MODEL.MASK_FORMER.TEST.SEMANTIC_ON", "False", "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "False")
    cfg = load_inference_cfg(found.config, [*results, "TEST.PLOTS", "False"], found.weights, device="cpu")
    model: Any = build_model(cfg)
    load_weights(model, found.weights)
    with tempfile.TemporaryDirectory() as output:
        panoptic = evaluate(model, cfg, TEST_SET, output)["panoptic_seg"]
    return {key: round(panoptic[key], 2) for key in ("PQ", "PQ_seen", "PQ_unseen")}


def tokens() -> set[int]:
    """Ids of all tokens that captions and prompts have; a word's tokens do not depend on its neighbours."""
    tokenize = open_clip.get_tokenizer("RN50")
    return set(tokenize([*all_words(), *TEMPLATES]).flatten().tolist())


if __name__ == "__main__":
    sys.exit(run_tool(main))
