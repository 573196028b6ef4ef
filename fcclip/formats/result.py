"""What a model found in one picture: the plain data that every form is written from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import ndimage

from fcclip.drawing.colors import RGB
from fcclip.drawing.labels import Box
from fcclip.drawing.name_colors import vocabulary_colors
from fcclip.vocabulary import Vocabulary

CONFIRMED = 3  # frames in which an object of a video was found; from then on its number is drawn
NEAREST_CLASSES = 5  # that a segment tells the scores of
RANDOM_WEIGHTS_WARNING = "RANDOM WEIGHTS: these segments and names mean nothing"


@dataclass(frozen=True)
class ClassScore:
    """What the classifiers say of one class for one segment, as probabilities.

    Attributes:
        name: first name of the class.
        category_id: its position in the vocabulary.
        score: after the ensemble; void takes the rest.
        in_vocabulary: of the classifier that was trained with masks, among the classes alone.
        out_of_vocabulary: of CLIP.

    Examples:
        >>> ClassScore("cat", 0, score=0.8, in_vocabulary=0.9, out_of_vocabulary=0.7).name
        'cat'
    """

    name: str
    category_id: int
    score: float
    in_vocabulary: float
    out_of_vocabulary: float


@dataclass(frozen=True)
class Segment:
    """One region of a panoptic map.

    Attributes:
        id: its value in the panoptic map, from 1.
        name: first name of its class.
        category_id: position of its class in the vocabulary.
        is_thing: a countable object; else stuff, at most one segment per class.
        score: probability of its class, 0..1.
        area: pixels.
        box: (x0, y0, x1, y1) in pixels; x1 and y1 lie just outside.
        track: the same object, or the same kind of stuff, has the same number in every frame of a video; None in a
            picture.
        rank: the how-manieth object of its class it is in a video, from 0; its colour goes by it.
        hits: in how many frames of a video, up to this one, the object was found; None in a picture, of stuff, and
            where the whole video was looked at first.
        scores: the classes that came nearest, best first; empty where the model does not classify masks.
        embedding: (E,) float32 unit vector in CLIP's joint space, what CLIP sees in the mask; None like `scores`. Its
            product with a row of `Segmenter.embed_text` is their cosine similarity.
        panoptic: (H, W), the map that the segment lies in.

    Examples:
        >>> panoptic = np.array([[0, 1], [0, 1]])
        >>> segment = Segment(1, "cat", 0, is_thing=True, score=0.9, area=2, box=(1, 0, 2, 2), panoptic=panoptic)
        >>> segment.mask.tolist()
        [[False, True], [False, True]]
    """

    id: int
    name: str
    category_id: int
    is_thing: bool
    score: float
    area: int
    box: Box
    track: int | None = None
    rank: int | None = None
    hits: int | None = None
    scores: tuple[ClassScore, ...] = field(default=(), compare=False, repr=False)
    embedding: np.ndarray | None = field(default=None, compare=False, repr=False)
    panoptic: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def is_tentative(self) -> bool:
        """An object of a video that was found in fewer than 3 frames so far: perhaps it is none."""
        return self.hits is not None and self.hits < CONFIRMED

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool, its pixels.

        Raises:
            ValueError: the segment was made without a map.
        """
        if self.panoptic is None:
            raise ValueError(f"segment {self.id} was made without its panoptic map, and so has no mask")
        return self.panoptic == self.id


@dataclass(frozen=True, eq=False)
class Instances:
    """Objects found, each with its own mask; masks may overlap.

    Attributes:
        masks: (N, H, W) bool.
        boxes: (N, 4) float32, (x0, y0, x1, y1) in pixels.
        scores: (N,) float32, 0..1.
        category_ids: (N,) int64, positions in the vocabulary.

    Examples:
        >>> masks, boxes = np.ones((2, 4, 4), bool), np.array([[0, 0, 4, 4]] * 2, np.float32)
        >>> found = Instances(masks, boxes, np.array([0.3, 0.8], np.float32), np.array([0, 1]))
        >>> found.best_first(0.5).category_ids.tolist()
        [1]
    """

    masks: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    category_ids: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.masks.ndim != 3 or self.masks.dtype != bool:
            raise ValueError(f"instance masks are an (N, H, W) bool array, not {self.masks.dtype} {self.masks.shape}")
        if (len(self.masks), self.boxes.shape, self.category_ids.shape) != (count, (count, 4), (count,)):
            raise ValueError(
                f"{count} scores do not fit {len(self.masks)} masks, boxes of shape {self.boxes.shape} "
                f"and {len(self.category_ids)} classes"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, which: np.ndarray) -> Instances:
        """The instances that a bool or index array selects."""
        return Instances(self.masks[which], self.boxes[which], self.scores[which], self.category_ids[which])

    def best_first(self, least: float = 0.0) -> Instances:
        """Those that score at least `least`, the best first."""
        order = np.argsort(-self.scores, kind="stable")
        return self[order[self.scores[order] >= least]]


@dataclass(frozen=True, eq=False)
class Result:
    """The result for one picture; a task that was switched off is None.

    Attributes:
        image: (H, W, 3) uint8, RGB: the picture itself.
        vocabulary: the classes that were asked for; every category id is a position in it.
        panoptic: (H, W) int32, a segment's id at each of its pixels, 0 where there is none.
        segments: the segments of the panoptic map.
        instances: objects with a mask each.
        semantic: (H, W) integers, the most probable class of every pixel.
        random_weights: the model was not trained; nothing here means anything.

    Raises:
        ValueError: a shape, id or class does not fit, or there is no result at all.

    Examples:
        >>> image, labels = np.zeros((2, 3, 3), np.uint8), np.array([[0, 0, 1]] * 2)
        >>> result = Result(image, Vocabulary.of("cat; sky=stuff"), semantic=labels)
        >>> [(result.name_of(category_id), pixels) for category_id, pixels in result.semantic_areas()]
        [('cat', 4), ('sky', 2)]
    """

    image: np.ndarray
    vocabulary: Vocabulary
    panoptic: np.ndarray | None = None
    segments: tuple[Segment, ...] = ()
    instances: Instances | None = None
    semantic: np.ndarray | None = None
    random_weights: bool = False

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise ValueError(f"the image is an (H, W, 3) uint8 array, not {self.image.dtype} {self.image.shape}")
        if self.panoptic is None and self.semantic is None and self.instances is None:
            raise ValueError(
                "there is no result; switch on PANOPTIC_ON, INSTANCE_ON or SEMANTIC_ON in MODEL.MASK_FORMER.TEST"
            )
        for name, values in (("panoptic map", self.panoptic), ("semantic map", self.semantic)):
            if values is not None and values.shape != self.size:
                raise ValueError(f"the {name} has shape {values.shape}, the image {self.size}")
        if self.instances is not None and self.instances.masks.shape[1:] != self.size:
            raise ValueError(f"instance masks have shape {self.instances.masks.shape[1:]}, the image {self.size}")
        self._check_segments()
        self._check_classes()

    def _check_segments(self) -> None:
        ids = [segment.id for segment in self.segments]
        in_map = set() if self.panoptic is None else set(np.unique(self.panoptic).tolist()) - {0}
        if len(set(ids)) != len(ids) or set(ids) != in_map:
            raise ValueError(f"the segments' ids {ids} are not those of the panoptic map, {sorted(in_map)}")

    def _check_classes(self) -> None:
        used = [segment.category_id for segment in self.segments]
        if self.instances is not None:
            used += self.instances.category_ids.tolist()
        if self.semantic is not None:
            used += [int(self.semantic.min()), int(self.semantic.max())]
        for category_id in used:
            if not 0 <= category_id < len(self.vocabulary):
                raise ValueError(f"class {category_id} is not among the vocabulary's {len(self.vocabulary)}")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def name_of(self, category_id: int) -> str:
        """The name by which a class is shown."""
        return self.vocabulary.categories[category_id].name

    def color_of(self, category_id: int) -> RGB:
        """The colour of a class: its own in the vocabulary, else one that belongs to its name."""
        own = self.vocabulary.categories[category_id].color
        return own or vocabulary_colors(tuple(category.name for category in self.vocabulary.categories))[category_id]

    def tracks(self) -> np.ndarray:
        """(H, W) int32, the track of every pixel of the panoptic map, 0 where there is none.

        Raises:
            ValueError: this is no frame of a video.
        """
        if self.panoptic is None or any(segment.track is None for segment in self.segments):
            raise ValueError("there are no tracks; they come from Segmenter.track")
        table = np.zeros(int(self.panoptic.max()) + 1, np.int32)
        for segment in self.segments:
            table[segment.id] = segment.track or 0
        return table[self.panoptic]

    def semantic_areas(self) -> list[tuple[int, int]]:
        """(class, pixels) of every class in the semantic map, largest first; empty without one."""
        if self.semantic is None:
            return []
        classes, areas = np.unique(self.semantic, return_counts=True)
        return sorted(zip(classes.tolist(), areas.tolist(), strict=True), key=lambda pair: -pair[1])


def explain_segments(
    segments: Iterable[Segment],
    vocabulary: Vocabulary,
    probabilities: tuple[np.ndarray, np.ndarray, np.ndarray],
    embeddings: np.ndarray,
    nearest: int = NEAREST_CLASSES,
) -> tuple[Segment, ...]:
    """The segments with the classes that came nearest.

    Args:
        segments: n of them.
        vocabulary: C classes.
        probabilities: (n, C) each: after the ensemble, of the trained classifier, of CLIP.
        embeddings: (n, E) unit vectors, what CLIP sees in each.
        nearest: the most classes that a segment tells of.
    """
    explained = []
    for segment, *rows, embedding in zip(segments, *probabilities, embeddings, strict=True):
        best = np.argsort(-rows[0], kind="stable")[:nearest].tolist()
        scores = tuple(
            ClassScore(vocabulary.categories[index].name, index, *(float(row[index]) for row in rows)) for index in best
        )
        explained.append(replace(segment, scores=scores, embedding=embedding))
    return tuple(explained)


def describe_segments(
    panoptic: np.ndarray, records: Iterable[Mapping[str, Any]], scores: Iterable[float], vocabulary: Vocabulary
) -> tuple[Segment, ...]:
    """Complete a model's segment records with names, areas and boxes.

    Args:
        panoptic: (H, W) integers, segment ids.
        records: with `id`, `category_id` (position in the vocabulary) and `isthing`.
        scores: one probability per record.
        vocabulary: names the classes.

    Returns:
        One segment per record, in the same order.

    Raises:
        ValueError: a record's id has no pixel.
    """
    extents = ndimage.find_objects(panoptic.astype(np.int32, copy=False))
    areas = np.bincount(panoptic.ravel())
    segments = []
    for record, score in zip(records, scores, strict=True):
        index = int(record["id"])
        extent = extents[index - 1] if 0 < index <= len(extents) else None
        if extent is None:
            raise ValueError(f"segment {index} has no pixel in the panoptic map")
        rows, columns = extent
        segments.append(
            Segment(
                id=index,
                name=vocabulary.categories[record["category_id"]].name,
                category_id=int(record["category_id"]),
                is_thing=bool(record["isthing"]),
                score=float(score),
                area=int(areas[index]),
                box=(columns.start, rows.start, columns.stop, rows.stop),
                panoptic=panoptic,
            )
        )
    return tuple(segments)
