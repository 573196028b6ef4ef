#!/usr/bin/env python3
"""What gives the same bits, and what does not: every result is computed twice, with one thing changed.

    OMP_NUM_THREADS=1 python tools/determinism.py
    OMP_NUM_THREADS=1 python tools/determinism.py --systems panoshapes "FC-CLIP, random"

The systems: the small trained models that come along, and others of a tiny CLIP with random weights. A cell says
"same" if all maps, masks, scores and the scores of all classes at all pixels are equal to the bit; else how many pixels
(of panoptic and semantic maps) have another class, and by how much scores differ at most. docs/reliability.md has the
table. Of training and evaluation, tests/engine/test_determinism.py tells.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tabulate import tabulate

from fcclip import Segmenter, Vocabulary
from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.scene import render_scene
from fcclip.zoo import shipped_models

REPOSITORY = Path(__file__).resolve().parents[1]
DESCRIPTIONS = REPOSITORY / "tests" / "configs"
SIDE = 128
IMAGES = 4
MAPS = ("panoptic map", "semantic map", "areas")  # which are no scores
THREADS = "OMP_NUM_THREADS"
SMALL = ("INPUT.MIN_SIZE_TEST", str(SIDE), "MODEL.FC_CLIP.TEXT_CACHE", "False")
FEW = ("MODEL.FC_CLIP.EMBED_DIM", "32", "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "40")
TRANSFER = ("MODEL.cdt_params", "[32, 8]")
PANOPTIC = "coco/panoptic-segmentation"
ALL_TASKS = tuple(
    word for task in ("PANOPTIC", "INSTANCE", "SEMANTIC") for word in (f"MODEL.MASK_FORMER.TEST.{task}_ON", "True")
)
LOW = ("MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD", "0.0")  # random weights are sure of nothing
WORDS = Vocabulary.of([f"{entry.name}=thing" if entry.is_thing else f"{entry.name}=stuff" for entry in CLASSES[::4]])

Answer = dict[str, np.ndarray]  # of all pictures, by what it is
Build = Callable[[], Segmenter]


def shipped(name: str) -> Build:
    """A model that comes along."""
    return lambda: Segmenter.from_pretrained(name, SMALL, "cpu")


def tiny(config: str, clip: str, *opts: str) -> Build:
    """A published configuration with a tiny CLIP, all weights random."""

    def build() -> Segmenter:
        torch.manual_seed(0)
        words = ("MODEL.FC_CLIP.CLIP_MODEL_NAME", str(DESCRIPTIONS / f"tiny_{clip}.json"), *SMALL, *opts)
        return Segmenter.from_config(REPOSITORY / "configs" / config, words, device="cpu", random_weights=True)

    return build


SYSTEMS: dict[str, Build] = {
    **{name: shipped(name) for name in shipped_models()},
    "FC-CLIP, ConvNeXt": tiny(
        f"{PANOPTIC}/fcclip/fcclip_convnext_large_eval_ade20k.yaml", "convnext", *FEW, *ALL_TASKS, *LOW
    ),
    "FC-CLIP, ResNet": tiny(f"{PANOPTIC}/fcclip/fcclip_convnext_large_eval_ade20k_r50.yaml", "resnet", *FEW, *LOW),
    "OVRCOAT": tiny(
        f"{PANOPTIC}/ovrcoat/ovrcoat_convnext_large_eval_ade20k.yaml",
        "convnext",
        *FEW,
        *LOW,
        "MODEL.cdt_params",
        "[32, 8]",
    ),
    "Mask-Adapter": tiny(f"{PANOPTIC}/mask_adapter/fcclip_convnext_large_eval_ade20k.yaml", "convnext", *FEW, *LOW),
    "MAFT+": tiny(f"{PANOPTIC}/maft_plus/panoptic/eval.yaml", "convnext", *FEW, *LOW, *TRANSFER),
}


def pictures() -> list[np.ndarray]:
    """The scenes, (SIDE, SIDE, 3) uint8."""
    return [render_scene(np.random.default_rng(seed), SIDE, SIDE).image for seed in range(IMAGES)]


def answer(
    segmenter: Segmenter, images: Sequence[np.ndarray], batch_size: int = 1, words: Vocabulary = WORDS
) -> Answer:
    """All that is said of the pictures, under the numbers that classes have in `WORDS`."""
    place = {category.name: number for number, category in enumerate(words.categories)}
    order = [place[category.name] for category in WORDS.categories]
    numbers = np.argsort(order)
    said: Answer = {}
    segmenter.set_vocabulary(words)
    for number, found in enumerate(segmenter.predict(list(images), batch_size)):
        if found.panoptic is not None:
            classes = np.full(found.panoptic.max() + 1, -1)
            for segment in found.segments:
                classes[segment.id] = numbers[segment.category_id]
            said[f"panoptic map {number}"] = classes[found.panoptic]
            said[f"segments {number}"] = np.sort([segment.score for segment in found.segments])
        if found.semantic is not None:
            said[f"semantic map {number}"] = numbers[found.semantic]
        if found.instances is not None:
            said[f"instances {number}"] = np.sort(found.instances.scores)
            said[f"areas {number}"] = np.sort(found.instances.masks.sum((1, 2)))
    inputs = [{"image": torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))} for image in images]
    with torch.no_grad():
        batches = [segmenter.model(inputs[start : start + batch_size]) for start in range(0, len(inputs), batch_size)]
    for number, result in enumerate(result for batch in batches for result in batch):
        if "sem_seg" in result:
            said[f"scores {number}"] = result["sem_seg"].numpy()[order]
    return said


def compared(one: Answer, other: Answer) -> str:
    """ "same", or what differs."""
    if all(np.array_equal(one[key], other[key]) for key in one):
        return "same"
    maps = [(one[key], other[key]) for key in one if " map " in key]
    scores = [(one[key], other[key]) for key in one if not key.startswith(MAPS)]
    pixels, all_pixels = sum(int((a != b).sum()) for a, b in maps), sum(a.size for a, _ in maps)
    if any(a.shape != b.shape for a, b in scores):
        return f"{pixels} of {all_pixels} pixels, other segments"
    most = max(float(np.abs(a.astype(np.float64) - b).max(initial=0)) for a, b in scores)
    return f"{pixels} of {all_pixels} pixels, scores by {most:.0e}"


def elsewhere(system: str, threads: str) -> Answer:
    """The answer of a fresh process with so many threads."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answer.npz"
        command = [sys.executable, __file__, "--systems", system, "--write", str(path)]
        subprocess.run(command, check=True, env={**os.environ, THREADS: threads}, stderr=subprocess.DEVNULL)
        with np.load(path) as stored:
            return dict(stored)


def changes(system: str, segmenter: Segmenter) -> dict[str, str]:
    """What is changed -> what comes of it."""
    images = pictures()
    base = answer(segmenter, images)
    others = [np.random.default_rng(9).integers(0, 256, image.shape, np.uint8) for image in images]
    own = os.environ.get(THREADS, str(torch.get_num_threads()))

    def part(said: Answer, first: int, count: int, by: int = 0) -> Answer:
        numbers = {f" {number}": f" {number - by}" for number in range(first, first + count)}
        return {
            key[: -len(ending)] + numbers[ending]: value
            for key, value in said.items()
            if (ending := key[key.rindex(" ") :]) in numbers
        }

    four = answer(segmenter, images, 4)
    turned = answer(segmenter, images[::-1], 4)
    cells = {
        "again in the same process": compared(base, answer(segmenter, images)),
        "in a fresh process": compared(base, elsewhere(system, own)),
        f"{THREADS} 2": compared(base, elsewhere(system, "2")),
        "one by one, in another order": compared(part(base, 3, 1, 3), part(answer(segmenter, images[::-1]), 0, 1)),
        "batches of 2": compared(base, answer(segmenter, images, 2)),
        "batches of 4": compared(base, four),
        "batches of 4, in another company": compared(
            part(four, 0, 1), part(answer(segmenter, [images[0], *others[1:]], 4), 0, 1)
        ),
        "batches of 4, at another place": compared(part(four, 0, 1), part(turned, 3, 1, 3)),
        "classes in another order": compared(base, answer(segmenter, images, words=Vocabulary(WORDS.categories[::-1]))),
    }
    segmenter.model.vocabularies.forget_embeddings()
    segmenter.embed_text([f"{entry.name} {entry.name}" for entry in CLASSES] + list(WORDS.names))
    cells["names that were encoded beside others"] = compared(base, answer(segmenter, images))
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--write", type=Path, help="write the answer of one system to this .npz, for another process")
    options = parser.parse_args(arguments)
    if options.write:
        said: dict[str, Any] = answer(SYSTEMS[options.systems[0]](), pictures())
        np.savez(options.write, **said)
        return
    columns = {system: changes(system, SYSTEMS[system]()) for system in options.systems}
    rows = [[change, *(cells[change] for cells in columns.values())] for change in next(iter(columns.values()))]
    print(tabulate(rows, ["what is changed", *columns], tablefmt="github"))


if __name__ == "__main__":
    main()
