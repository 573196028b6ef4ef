#!/usr/bin/env python3
"""How long an image takes with each successor of FC-CLIP, and what each saving of Mask-Adapter gives.

    python tools/benchmark_family.py                                # ConvNeXt-L at 896x672, 150 classes
    python tools/benchmark_family.py --size 448 336 --systems FC-CLIP Mask-Adapter

Seconds of the processor, of all threads together, so that a busy machine does little harm. The weights are random; so
that masks are as with trained ones, a share of the queries is made empty, and another void. The savings change no
result: each row says how far its embeddings are from those of the first, which has all savings.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fcclip  # isort: skip # before Detectron2, whose warnings it silences
import torch
from detectron2.modeling import build_model
from torch import Tensor

from fcclip.engine.errors import run_tool
from fcclip.files.process_memory import peak_bytes
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.modeling.decoded import QueryMasks

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tools.benchmark import random_classes  # noqa: E402, after the path is known
from tools.published import adapter_embeddings  # noqa: E402

CONFIGS = REPOSITORY / "configs" / "coco" / "panoptic-segmentation"
SYSTEMS = {
    "FC-CLIP": "fcclip/fcclip_convnext_large_eval_ade20k.yaml",
    "OVRCOAT": "ovrcoat/ovrcoat_convnext_large_eval_ade20k.yaml",
    "MAFT+": "maft_plus/semantic/train_semantic_large.yaml",
    "Mask-Adapter": "mask_adapter/fcclip_convnext_large_eval_ade20k.yaml",
    "Mask-Adapter on MAFT+": "mask_adapter/maftp/train_semantic_large_eval_a150.yaml",
}
WAYS = ("as published", "in chunks", "and one fuse", "and equal masks once", "and no void")
EMPTY, VOID = -10.0, 20.0  # logits


def build(system: str, options: Sequence[str], classes: int) -> FCCLIP:
    """A system with random weights, asked for random classes, all three kinds of results on."""
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(str(CONFIGS / SYSTEMS[system]))
    test = "MODEL.MASK_FORMER.TEST"
    kinds = [word for kind in ("SEMANTIC", "INSTANCE", "PANOPTIC") for word in (f"{test}.{kind}_ON", "True")]
    loading = ["MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS", "", "MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS", "True"]
    cfg.merge_from_list([*kinds, *loading, "MODEL.DEVICE", "cpu", "MODEL.FC_CLIP.RELEASE_TEXT_TOWER", "True", *options])
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    model.vocabularies.ask_for(random_classes(model, classes))
    model.backbone.release_text_tower()
    return model


@contextmanager
def lifelike(model: FCCLIP, empty: float, void: float) -> Iterator[None]:
    """Within the block, these shares of the queries have an empty mask and are void; empty ones are void as well."""
    head: Any = model.sem_seg_head
    decode, classify = head.decode, head.classify

    def with_empty_masks(*arguments: Any) -> QueryMasks:
        masks = decode(*arguments)
        masks.logits[:, : round(empty * masks.logits.shape[1])] = EMPTY
        return masks

    def with_void(*arguments: Any) -> Tensor:
        logits = classify(*arguments)
        logits[:, : round(void * logits.shape[1]), -1] = logits.max() + VOID
        return logits

    with patch.object(head, "decode", with_empty_masks), patch.object(head, "classify", with_void):
        yield


def embedder(model: FCCLIP, way: str) -> Callable[..., Tensor]:
    """A stand-in for the adapter's `embed_masks`, with the savings up to the one that is named."""
    adapter: Any = model.mask_adapter
    if way in WAYS[:2]:
        chunk = sys.maxsize if way == "as published" else 8
        return partial(adapter_embeddings, adapter, masks_at_once=chunk)
    if way == "and one fuse":

        def without_sharing(*arguments: Any) -> Tensor:
            with patch("fcclip.modeling.mask_adapter.is_recording", lambda: True):
                return type(adapter).embed_masks(adapter, *arguments)

        return without_sharing
    return adapter.embed_masks


def seconds(model: FCCLIP, inputs: list[dict[str, Any]], repeats: int) -> float:
    """The least processor time of a few runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        model(inputs)
        times.append(time.process_time() - start)
    return min(times)


def peak() -> float:
    """GB that this process has held at most."""
    return peak_bytes() / 1e9


def measure_savings(model: FCCLIP, inputs: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """One row per way of computing the adapter, the one that needs most memory last."""
    print(f"\n{'Mask-Adapter, encoding':24}{'seconds':>9}{'peak GB':>9}{'off by':>10}")
    first = None
    for way in reversed(WAYS):
        model.semantic_on = model.instance_on = way != WAYS[-1]  # the last saving is for panoptic results alone
        classes = model.vocabularies.test(model.device)
        computed = patch.object(model.mask_adapter, "embed_masks", embedder(model, way))
        with lifelike(model, options.empty, options.void), computed:
            start = time.process_time()
            (encoded,) = model.encode(inputs, classes)
            spent = time.process_time() - start
        every = encoded.decoded.clip_embeddings[0]
        embeddings = every[round(options.void * len(every)) :]  # those that are not void
        first = embeddings if first is None else first
        error = ((embeddings - first).abs().max() / first.abs().max()).item()
        print(f"{way:24}{spent:9.1f}{peak():9.2f}{error:10.1e}", flush=True)


@torch.no_grad()
def run(options: argparse.Namespace) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = [{"image": torch.rand(3, *options.size, generator=generator) * 255}]
    print(f"{options.size[0]}x{options.size[1]}, {options.classes} classes, PyTorch {torch.__version__}")
    print(f"{'':24}{'seconds':>9}{'ratio':>8}")
    first = None
    for system in options.systems:
        model = build(system, options.opts, options.classes)
        with lifelike(model, options.empty, options.void):
            spent = seconds(model, inputs, options.repeats)
        first = first or spent
        print(f"{system:24}{spent:9.1f}{spent / first:8.2f}", flush=True)
        if system == "Mask-Adapter":
            adapted = model
    if "Mask-Adapter" in options.systems:
        measure_savings(adapted, inputs, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(896, 672), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=1, help="runs, of which the fastest counts")
    parser.add_argument("--empty", type=float, default=0.1, help="share of queries with an empty mask")
    parser.add_argument("--void", type=float, default=0.9, help="share of queries that are void")
    parser.add_argument("--opts", nargs="+", default=(), metavar="KEY VALUE", help="configuration keys and values")
    run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(run_tool(main))
