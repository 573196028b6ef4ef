"""From what the graphs say to results; the same steps as in `fcclip.meta_arch`, in NumPy.

FC-CLIP's graph gives masks of queries; ZegCLIP and Cascade-CLIP match names with patches, in a graph of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcclip.export.classes import Classes, TextRows
from fcclip.export.engine import Arrays, Graph
from fcclip.export.manifest import PatchSettings, QuerySettings
from fcclip.export.masks import (
    MaskUpsampler,
    log_softmax,
    resize_columns,
    resize_maps,
    resize_matrix,
    resize_rows,
    sigmoid,
    softmax,
)
from fcclip.export.results import InstanceResult, PanopticResult, SemanticResult, feed_bands
from fcclip.formats.result import describe_segments, explain_segments
from fcclip.inference.bands import Size, bands, window_starts

Found = dict[str, Any]  # fields of a `Segmentation`
CACHED_BYTES = 3 * 2**20  # of upsampled masks at a time: NumPy passes over them again and again, in a core's cache


@dataclass(frozen=True)
class Sizes:
    """Heights and widths of a picture: resized, and of the results."""

    image: Size
    output: Size


class QuerySystem:
    """FC-CLIP: two classifiers of each mask, joined, then the results of all masks.

    Args:
        graph: `pixels` -> `mask_logits`, `mask_embeddings`, `clip_embeddings`, `on_features`.
        settings: of the manifest.
        void: (n, E) rows of "none of these".
        multiple: see `PixelFormat`.
        threads: that make the results of a picture.
    """

    def __init__(
        self, graph: Graph, settings: QuerySettings, void: np.ndarray, multiple: int, threads: int = 1
    ) -> None:
        self._graph, self._settings, self._void, self._multiple = graph, settings, void, multiple
        self._threads = threads

    def encode(self, images: Sequence[np.ndarray]) -> list[Arrays]:
        """Normalised images (3, H, W) that are padded to one size -> what the graph says of each."""
        outputs = self._graph({"pixels": padded_batch(images, self._multiple)})
        return [{name: values[i] for name, values in outputs.items()} for i in range(len(images))]

    def answer(self, encoded: Arrays, sizes: Sizes, classes: Classes) -> Found:
        """The results of one picture."""
        settings, asked = self._settings, classes.vocabulary
        probabilities = softmax(self._classify(encoded, classes))
        masks = encoded["mask_logits"]
        _require_numbers("class scores", probabilities)
        _require_numbers("masks", masks)
        padded = (4 * masks.shape[1], 4 * masks.shape[2])
        panoptic = semantic = instances = None
        if settings.panoptic:
            panoptic = PanopticResult(
                probabilities,
                sizes.output,
                asked.thing_ids,
                settings.object_mask_threshold,
                settings.overlap_threshold,
                asked.thresholds,
            )
        if settings.semantic:
            semantic = SemanticResult(
                probabilities, sizes.output, settings.chunk_bytes, asked.thresholds, settings.below_threshold
            )
        if settings.instances:
            kept = asked.thing_ids if settings.panoptic else None
            instances = InstanceResult(probabilities, sizes.output, settings.max_instances, kept, asked.thresholds)
        upsampler = MaskUpsampler(masks, padded, sizes.image, sizes.output)
        wanted = [result for result in (panoptic, semantic, instances) if result is not None]
        feed_bands(upsampler, wanted, min(settings.chunk_bytes, CACHED_BYTES), self._threads)
        found: Found = {}
        if semantic is not None:
            found["semantic"] = semantic.result()
        if instances is not None:
            found["instances"] = instances.result(settings.least_instance_score)
        if panoptic is not None:
            found |= self._describe(panoptic, encoded, classes)
        return found

    def _describe(self, result: PanopticResult, encoded: Arrays, classes: Classes) -> Found:
        panoptic, records = result.result()
        scores = [record.score for record in records]
        segments = describe_segments(panoptic, [record.as_info() for record in records], scores, classes.vocabulary)
        if segments:
            queries = [record.query for record in records]
            chosen = {name: values[queries] for name, values in encoded.items() if name != "mask_logits"}
            in_vocab, out_vocab = self._classify_apart(chosen, classes.text)
            tables = (
                softmax(self._classify(chosen, classes))[:, :-1],
                softmax(in_vocab[:, :-1]),
                softmax(out_vocab),
            )
            segments = explain_segments(segments, classes.vocabulary, tables, _unit(chosen["clip_embeddings"]))
        return {"panoptic": panoptic, "segments": segments}

    def _classify(self, encoded: Arrays, classes: Classes) -> np.ndarray:
        """Log-probabilities (Q, C + 1) of both classifiers together, void last."""
        settings = self._settings
        in_vocab, out_vocab = self._classify_apart(encoded, classes.text)
        exponents = np.where(classes.seen, settings.alpha, settings.beta).astype(np.float32)
        if settings.ensemble_on_valid_mask:
            exponents = exponents * encoded["on_features"][:, None]
        log_out = log_softmax(out_vocab)
        joint = softmax((1 - exponents) * log_softmax(in_vocab[:, :-1]) + exponents * log_out)
        surest = np.exp(log_out.max(axis=-1, keepdims=True))
        void = softmax(in_vocab)[:, -1:] * (1 - np.float32(settings.clip_trust) * surest)
        joint = np.log(np.concatenate([joint * (1 - void), void], axis=-1) + np.float32(settings.void_epsilon))
        if classes.everyone is None or classes.weights is None:
            return joint
        return self._leave_to_negatives(joint, self._classify(encoded, classes.everyone), classes.weights)

    def _classify_apart(self, encoded: Arrays, text: TextRows) -> tuple[np.ndarray, np.ndarray]:
        """Logits (Q, C + 1) of the trained classifier, void last, and (Q, C) of CLIP."""
        mask, clip = _unit(encoded["mask_embeddings"]), _unit(encoded["clip_embeddings"])
        scale, clip_scale = np.float32(self._settings.logit_scale), np.float32(self._settings.clip_logit_scale)
        void = (scale * mask @ self._void.T).max(axis=-1, keepdims=True)
        in_vocab = text.best_synonym(scale * mask @ text.embeddings.T)
        return np.concatenate([in_vocab, void], axis=-1), text.best_synonym(clip_scale * clip @ text.embeddings.T)

    def _leave_to_negatives(self, joint: np.ndarray, contest: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Make void of what looks more like a negative than like any class."""
        count = joint.shape[-1] - 1
        best_negative = (contest[:, count:-1] + np.log(weights)).max(axis=-1, keepdims=True)
        lost = best_negative > contest[:, :count].max(axis=-1, keepdims=True)
        share = np.float32(self._settings.lost_share) * np.exp(joint[:, :-1])
        void = 1 - share.sum(axis=-1, keepdims=True)
        given = np.log(np.concatenate([share, void], axis=-1) + np.float32(self._settings.void_epsilon))
        return np.where(lost, given, joint)


class PatchSystem:
    """ZegCLIP and Cascade-CLIP: windows slide over the picture, and their class scores are averaged.

    Args:
        graph: `pixels` -> `image`, and `patches_N` of one or several blocks.
        scores: these and `text` (K, E) -> `logits` (B, K, h, w).
        settings: of the manifest.
    """

    def __init__(self, graph: Graph, scores: Graph, settings: PatchSettings) -> None:
        self._graph, self._scores, self._settings = graph, scores, settings

    def encode(self, images: Sequence[np.ndarray]) -> list[list[Arrays]]:
        """Normalised images (3, H, W) -> what the graph says of the windows of each, in batches."""
        return [[self._graph({"pixels": batch}) for batch in self._crops(image)] for image in images]

    def answer(self, encoded: list[Arrays], sizes: Sizes, classes: Classes) -> Found:
        """The results of one picture."""
        height, width = self._window(sizes.image)
        total = np.zeros((len(classes.vocabulary), *sizes.image), np.float32)
        covered = np.zeros(sizes.image, np.float32)
        parts = (score for batch in encoded for score in self._class_scores(batch, classes, (height, width)))
        for (top, left), part in zip(self._corners(sizes.image), parts, strict=True):
            total[:, top : top + height, left : left + width] += part
            covered[top : top + height, left : left + width] += 1
        scores = total / covered
        _require_numbers("class scores", scores)
        labels = np.zeros(sizes.output, np.int32)
        weights = resize_matrix(sizes.image[0], sizes.output[0])
        widest = (sizes.output[0], max(sizes.image[1], sizes.output[1]))
        for start, stop in bands(widest, len(scores), self._settings.chunk_bytes):
            resized = resize_columns(resize_rows(scores, weights[start:stop]), sizes.output[1])
            labels[start:stop] = resized.argmax(axis=0)
        return {"semantic": labels}

    def _class_scores(self, batch: Arrays, classes: Classes, window: Size) -> list[np.ndarray]:
        """(C, *window) scores of each window of a batch."""
        text = classes.text
        logits = self._scores({**batch, "text": text.embeddings})["logits"]
        logits = text.best_synonym(logits, axis=1)
        penalty = np.float32(self._settings.seen_penalty) * classes.seen[:, None, None]
        resized = (resize_maps(maps, window) for maps in logits)
        probable = (softmax(maps, axis=0) if self._settings.softmax else sigmoid(maps) for maps in resized)
        return [maps - penalty for maps in probable]

    def _window(self, size: Size) -> Size:
        return min(self._settings.crop_size, size[0]), min(self._settings.crop_size, size[1])

    def _corners(self, size: Size) -> list[tuple[int, int]]:
        tops, lefts = (window_starts(side, self._settings.crop_size, self._settings.stride) for side in size)
        return [(top, left) for top in tops for left in lefts]

    def _crops(self, image: np.ndarray) -> list[np.ndarray]:
        size = (image.shape[1], image.shape[2])
        height, width = self._window(size)
        crops = [image[:, top : top + height, left : left + width] for top, left in self._corners(size)]
        step = self._settings.windows
        return [np.stack(crops[start : start + step]) for start in range(0, len(crops), step)]


def padded_batch(images: Sequence[np.ndarray], multiple: int) -> np.ndarray:
    """Images (3, h, w), with zeros right and below -> (B, 3, H, W), of the largest sides, and on to a multiple."""
    height, width = (-(-max(image.shape[axis] for image in images) // multiple) * multiple for axis in (1, 2))
    batch = np.zeros((len(images), 3, height, width), np.float32)
    for place, image in zip(batch, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = image
    return batch


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), np.float32(1e-12))


def _require_numbers(what: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise FloatingPointError(
            f"the {what} of the exported model are NaN or infinite, and its answer would mean nothing; export it again "
            "without --int8, or from other weights"
        )
