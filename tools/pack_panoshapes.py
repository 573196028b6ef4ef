#!/usr/bin/env python3
"""Pack CLIP and head of a PanoShapes model into the file that the package ships: half precision, trained tokens only.

    python tools/pack_panoshapes.py --head output/panoshapes_fcclip_1/model_final.pth
    python tools/pack_panoshapes.py --model zegclip_small --clip output/panoshapes_vit/clip.safetensors \\
        --head output/panoshapes_zegclip/model_final.pth
    python tools/pack_panoshapes.py --model panoshapes_mask_adapter \\
        --head output/panoshapes_mask_adapter/mask_adapter_phase2/1/model_final.pth
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
import open_clip
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from safetensors.torch import save_file
from torch import Tensor

from fcclip import load_weights
from fcclip.config import load_inference_cfg
from fcclip.data.panoshapes.captions import all_words
from fcclip.engine.errors import run_tool
from fcclip.evaluation.loop import evaluate
from fcclip.files.additions import BUILDS_ON
from fcclip.files.atomic import atomic_path, write_json
from fcclip.files.checkpoints import CLIP_PREFIX, read_state_dict
from fcclip.files.packed_weights import pack_rows
from fcclip.text import TEMPLATES
from fcclip.zoo import SHIPPED, ZOO_PREFIX, find_pretrained

CONFIGS = Path(__file__).resolve().parents[1] / "configs" / "panoshapes"
QUALITY = "quality.json"


@dataclass(frozen=True)
class Shipped:
    """A model of the package.

    Attributes:
        name: of its two files, and of its configuration in configs/panoshapes.
        dataset: on which its quality is measured.
        task, metrics: of the evaluation, which are written down.
        builds_on: the shipped model that it adds to; only what that one has not is packed, and no CLIP.
    """

    name: str
    dataset: str
    task: str
    metrics: tuple[str, ...]
    builds_on: str = ""


PANOPTIC = ("panoshapes_mini_all_panoptic", "panoptic_seg", ("PQ", "PQ_seen", "PQ_unseen"))
ZERO_SHOT = ("panoshapes_mini_few_panoptic", "sem_seg", ("mIoU_seen", "mIoU_unseen", "hIoU"))
# By the name of its folder, under which users ask for it.
MODELS = {
    "panoshapes": Shipped("fcclip_small", *PANOPTIC),
    "panoshapes_mask_adapter": Shipped("mask_adapter_phase2", *PANOPTIC, builds_on="panoshapes"),
    "zegclip_small": Shipped("zegclip_small", *ZERO_SHOT),
    "cascade_clip_small": Shipped("cascade_clip_small", *ZERO_SHOT),
}
TOKENS = f"{CLIP_PREFIX}token_embedding.weight"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="panoshapes", help="default: %(default)s")
    parser.add_argument("--clip", type=Path, default=Path("output/panoshapes_clip/clip.safetensors"), metavar="FILE")
    parser.add_argument("--head", type=Path, default=Path("output/panoshapes_fcclip/model_final.pth"), metavar="FILE")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: that of the package")
    args = parser.parse_args()
    shipped, folder = MODELS[args.model], args.output or SHIPPED / args.model
    packed = added(args.head, shipped.builds_on) if shipped.builds_on else whole(args.clip, args.head)
    stated = {BUILDS_ON: f"{ZOO_PREFIX}{shipped.builds_on}"} if shipped.builds_on else None
    weights = folder / f"{shipped.name}.safetensors"
    with atomic_path(weights) as scratch:
        save_file({key: tensor.contiguous() for key, tensor in packed.items()}, scratch, metadata=stated)
    with atomic_path(folder / f"{shipped.name}.yaml") as scratch:
        scratch.write_text(whole_config(CONFIGS / f"{shipped.name}.yaml"), encoding="utf-8")
    quality = measure(args.model, folder)
    write_json(folder / QUALITY, {"dataset": shipped.dataset, **quality}, indent=1)
    size = weights.stat().st_size
    print(f"{folder}: {size / 1e6:.1f} MB, {len(packed)} tensors, {quality}")


def whole(clip: Path, head: Path) -> dict[str, Tensor]:
    """CLIP and head, of the token table the rows that are used."""
    state = {f"{CLIP_PREFIX}{key}": tensor for key, tensor in read_state_dict(clip).items()}
    state |= {key: tensor for key, tensor in read_state_dict(head).items() if not key.startswith(CLIP_PREFIX)}
    return pack_rows(halved(state), TOKENS, tokens())


def added(head: Path, base: str) -> dict[str, Tensor]:
    """What a checkpoint of a training has besides a shipped model with which it began."""
    state, known = halved(read_state_dict(head)), halved(read_state_dict(find_pretrained(base).weights))
    return {key: t for key, t in state.items() if key not in known or not torch.equal(t, known[key])}


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Numbers in half precision."""
    return {key: t.half() if t.is_floating_point() else t for key, t in state.items()}


def whole_config(path: Path) -> str:
    """The text of a configuration file, with the files that it builds upon merged into it."""
    text = path.read_text(encoding="utf-8")
    if "_BASE_:" not in text:
        return text
    merged = CfgNode.load_yaml_with_base(str(path))
    return f"# configs/panoshapes/{path.name} and what it builds upon. See docs/panoshapes.md.\n" + yaml.safe_dump(
        merged
    )


def measure(name: str, folder: Path) -> dict[str, float]:
    """The quality of a packed model on the first scenes of its validation set, on the CPU."""
    shipped, found = MODELS[name], find_pretrained(folder)
    results = ("MODEL.MASK_FORMER.TEST.SEMANTIC_ON", "False", "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "False")
    options = [*(results if shipped.task == "panoptic_seg" else ()), "TEST.PLOTS", "False"]
    cfg = load_inference_cfg(found.config, options, found.weights, device="cpu")
    model: Any = build_model(cfg)
    load_weights(model, found.weights)
    with tempfile.TemporaryDirectory() as output:
        metrics = evaluate(model, cfg, shipped.dataset, output)[shipped.task]
    return {key: round(metrics[key], 2) for key in shipped.metrics}


def tokens() -> set[int]:
    """Ids of all tokens that captions and prompts have; a word's tokens do not depend on its neighbours."""
    tokenize = open_clip.get_tokenizer("RN50")
    return set(tokenize([*all_words(), *TEMPLATES]).flatten().tolist())


if __name__ == "__main__":
    sys.exit(run_tool(main))
