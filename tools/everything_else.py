#!/usr/bin/env python3
"""Measure on PanoShapes what negatives cost and save: area falsely named, and area found. See docs/words.md.

    python tools/everything_else.py
    python tools/everything_else.py --scenes 60 --first 100 --seed 1

Every scene is encoded once and asked for vocabularies of three names each, drawn from all 106, most of which are not in
the scene. Falsely named is what has a name and shows something else, as a share of all pixels; found is what has its
right name, as a share of the pixels that show an asked class.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from tabulate import tabulate
from tqdm import tqdm

from fcclip import Segmenter
from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.dataset import SPLITS, label_map
from fcclip.meta_arch.pictures import EncodedPicture
from fcclip.meta_arch.vocabularies import EncodedVocabulary

NAMES = [entry.name for entry in CLASSES]
NAMES_ASKED = 3
NEAREST = 5


@dataclass(frozen=True)
class Form:
    """A way to ask for three names.

    Attributes:
        title: its row in the table.
        ask: names to an encoded vocabulary.
        around: a context in which it is asked.
    """

    title: str
    ask: Callable[[Sequence[str]], EncodedVocabulary]
    around: Callable[[EncodedVocabulary], AbstractContextManager[Any]] = lambda classes: nullcontext()


@dataclass
class Areas:
    """Pixels that were counted."""

    all: int = 0
    asked: int = 0
    found: int = 0
    false: int = 0

    def add(self, truth: np.ndarray, named: np.ndarray, ids: Sequence[int]) -> None:
        """Count a scene: class ids (H, W), and those found, -1 for none."""
        self.all += truth.size
        self.asked += int(np.isin(truth, ids).sum())
        self.found += int((named == truth).sum())
        self.false += int(((named >= 0) & (named != truth)).sum())


def forms(segmenter: Segmenter) -> list[Form]:
    """Nothing more than the names, and the ways to tell them from others."""

    def plain(names: Sequence[str]) -> EncodedVocabulary:
        return segmenter.encode_vocabulary(class_strings(names))

    def weighted(weight: float) -> Callable[[Sequence[str]], EncodedVocabulary]:
        def ask(names: Sequence[str]) -> EncodedVocabulary:
            classes = segmenter.encode_vocabulary([*class_strings(names), "not: everything else"])
            assert classes.contest is not None
            return replace(classes, contest=replace(classes.contest, weights=0 * classes.contest.weights + weight))

        return ask

    def shipped(names: Sequence[str]) -> EncodedVocabulary:
        return segmenter.encode_vocabulary([*class_strings(names), "not: everything else"])

    def named(names: Sequence[str]) -> EncodedVocabulary:
        return segmenter.encode_vocabulary([*class_strings(names), f"not: {','.join(nearest(segmenter, names))}"])

    return [
        Form("the names alone", plain),
        Form("training names as rows of void (published)", plain, lambda classes: void_rows(segmenter, classes)),
        Form("not: everything else, weight 1", weighted(1.0)),
        Form("not: everything else, weight 0.3", weighted(0.3)),
        Form("**not: everything else** (weight 0.1)", shipped),
        Form(f"**not:** the {NEAREST} most similar of all names", named),
    ]


def class_strings(names: Sequence[str]) -> list[str]:
    """The classes of the world with these names, as users write them."""
    return [name if CLASSES[NAMES.index(name)].is_thing else f"{name}=stuff" for name in names]


def nearest(segmenter: Segmenter, names: Sequence[str]) -> list[str]:
    """Names that are not asked for, and whose text is most similar to one that is."""
    others = [name for name in NAMES if name not in names]
    similarity = segmenter.embed_text(others) @ segmenter.embed_text(names).T
    return [others[index] for index in np.argsort(-similarity.max(axis=1), kind="stable")[:NEAREST]]


@contextmanager
def void_rows(segmenter: Segmenter, classes: EncodedVocabulary) -> Iterator[None]:
    """The published way: in the block, every training name that is not asked for is one more row of void."""
    model: Any = segmenter.model
    others = model.vocabularies.others(classes.vocabulary.names)
    rows = model.vocabularies.embed([name for category in others for name in category.names])
    void = torch.cat([F.normalize(model.void_embedding.weight, dim=-1), rows.to(model.device)])
    with patch.object(model, "_with_void", lambda asked: asked.text.with_void(void)):
        yield


def measure(
    segmenter: Segmenter,
    form: Form,
    vocabularies: Sequence[Sequence[str]],
    scenes: Sequence[tuple[EncodedPicture, np.ndarray]],
) -> Areas:
    """Ask for all vocabularies in all scenes."""
    areas = Areas()
    for names in vocabularies:
        classes = form.ask(names)
        ids = [NAMES.index(name) for name in names]
        with form.around(classes):
            for encoded, truth in scenes:
                found = segmenter.predict(encoded, vocabulary=classes)
                assert found.panoptic is not None
                table = np.full(len(found.segments) + 1, -1)
                for segment in found.segments:
                    table[segment.id] = ids[segment.category_id]
                areas.add(truth, table[found.panoptic], ids)
    return areas


def encode_scenes(segmenter: Segmenter, first: int, count: int) -> list[tuple[EncodedPicture, np.ndarray]]:
    """Scenes of `panoshapes_val_all`, encoded, with their class ids (H, W)."""
    scenes = []
    for index in tqdm(range(first, first + count), desc="encoding scenes", leave=False):
        scene = SPLITS["val_all"].scene(index)
        scenes.append((segmenter.encode(scene.image), label_map(scene).astype(np.int64)))
    return scenes


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="panoshapes", help="name, file or folder (default: %(default)s)")
    parser.add_argument("--scenes", type=int, default=100, metavar="N", help="default: %(default)s")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first scene (default: %(default)s)")
    parser.add_argument("--vocabularies", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the names that are drawn (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    segmenter = Segmenter.from_pretrained(
        options.model,
        opts=("MODEL.MASK_FORMER.TEST.SEMANTIC_ON", "False", "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "False"),
    )
    trained = set(segmenter.model.vocabularies.train_vocabulary.names)
    drawn = random.Random(options.seed)
    vocabularies = [drawn.sample(NAMES, NAMES_ASKED) for _ in range(options.vocabularies)]
    unseen = sum(name not in trained for names in vocabularies for name in names)
    scenes = encode_scenes(segmenter, options.first, options.scenes)
    rows = []
    for form in forms(segmenter):
        areas = measure(segmenter, form, vocabularies, scenes)
        rows.append([form.title, 100 * areas.false / areas.all, 100 * areas.found / max(areas.asked, 1)])
        shown = 100 * areas.asked / areas.all
    print(f"{len(vocabularies)} vocabularies ({unseen} of their names unseen), {len(scenes)} scenes, ", end="")
    print(f"{shown:.1f} % of the pixels show an asked class\n")
    print(tabulate(rows, headers=["asked", "falsely named, %", "found, %"], tablefmt="github", floatfmt=".1f"))


if __name__ == "__main__":
    main()
