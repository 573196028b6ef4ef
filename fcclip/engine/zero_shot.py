"""How well a CLIP names crops and masks of PanoShapes, zero-shot among all classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcclip.clip.loading import LoadedClip
from fcclip.clip.text_tower import encode_text
from fcclip.data.panoshapes.batches import Mosaics
from fcclip.data.panoshapes.classes import CLASSES, ShapesClass, group_of
from fcclip.data.panoshapes.crops import Pair, all_pairs
from fcclip.data.panoshapes.dataset import SIDE, SPLITS
from fcclip.engine.contrastive.tiles import embed_masks, embed_tiles, normalize_pixels
from fcclip.modeling.classification import classify
from fcclip.text import NameEmbedder, TextClassifier
from fcclip.vocabulary import Vocabulary

BATCH = 32
Accuracy = dict[str, float]  # of each group of classes and "all", percent


def text_classifier(clip: LoadedClip, classes: Sequence[ShapesClass] = CLASSES) -> TextClassifier:
    """Classes of PanoShapes in the prompts of FC-CLIP."""
    embedder = NameEmbedder(clip.tokenizer, partial(encode_text, clip.model))
    return embedder.build_classifier(Vocabulary.from_class_strings(entry.name for entry in classes))


@torch.no_grad()
def crop_accuracy(clip: LoadedClip, side: int, scenes: int = 100, seed: int = 2001) -> Accuracy:
    """Accuracy on crops (side, side) of objects and stuff, each pooled as a whole."""
    text = text_classifier(clip)
    pairs = list(all_pairs(np.random.default_rng(seed), scenes, side))
    predicted: list[int] = []
    for start in range(0, len(pairs), BATCH):
        embeddings = embed_tiles(clip.model, Mosaics(_stack(pairs[start : start + BATCH]), grid=1))
        predicted += _name(clip, embeddings[None], text)
    return _by_group([pair.category for pair in pairs], predicted, CLASSES)


@torch.no_grad()
def mask_accuracy(clip: LoadedClip, side: int = SIDE, scenes: int = 100, split: str = "val_all") -> Accuracy:
    """Accuracy on the true masks of scenes (side, side), pooled as FC-CLIP pools its masks, among a split's classes."""
    classes = SPLITS[split].classes
    text = text_classifier(clip, classes)
    truth: list[int] = []
    predicted: list[int] = []
    for index in range(scenes):
        scene = SPLITS[split].scene(index, side)
        image = torch.from_numpy(scene.image.transpose(2, 0, 1).copy())[None]
        masks = torch.stack([torch.from_numpy(scene.ids == segment.id) for segment in scene.segments])[None]
        predicted += _name(clip, embed_masks(clip.model, normalize_pixels(image), masks), text)
        truth += [segment.category for segment in scene.segments]
    return _by_group(truth, predicted, classes)


def _name(clip: LoadedClip, embeddings: Tensor, text: TextClassifier) -> list[int]:
    """The class of each embedding (1, Q, E)."""
    model: Any = clip.model
    return classify(embeddings, text, model.logit_scale)[0].argmax(dim=-1).tolist()


def _stack(pairs: Sequence[Pair]) -> Tensor:
    return torch.from_numpy(np.stack([pair.image.transpose(2, 0, 1) for pair in pairs]))


def _by_group(truth: Iterable[int], predicted: Iterable[int], classes: Sequence[ShapesClass]) -> Accuracy:
    hits: dict[str, list[bool]] = defaultdict(list)
    for true, guess in zip(truth, predicted, strict=True):
        for group in (group_of(classes[true]), "all"):
            hits[group].append(true == guess)
    return {group: 100 * float(np.mean(values)) for group, values in sorted(hits.items())}
