"""Label maps: one class per pixel, numbered as in the vocabulary or as a dataset numbers its classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from fcclip.files.atomic import atomic_path
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer
from fcclip.vocabulary import Vocabulary, split_synonyms

NO_CLASS = 255  # ids of the vocabulary; 65535 in a 16-bit file
SHORT = 1 << 8


class ClassIds(Writer):
    """`NAME.png`: positions in the vocabulary, 255 where nothing is, with a palette; 16 bits from 256 classes on."""

    dataset: str | None = None

    def add(self, result: Result, image: str) -> list[Path]:
        path = self.path(image, ".png")
        ids, void = self._number(result.vocabulary)
        table = np.append(ids, ids.dtype.type(void))
        labels = table[class_map(result)]  # a pixel without a class has -1, the last entry
        picture = Image.fromarray(labels)
        if labels.dtype == np.uint8:
            picture.putpalette(_palette(result, ids))
        with atomic_path(path) as scratch:
            picture.save(scratch, format="PNG")
        return [path]

    def _number(self, vocabulary: Vocabulary) -> tuple[np.ndarray, int]:
        """The id of every class, in the type of the file, and the id of pixels that have none."""
        if self.dataset is not None:
            convention = dataset_ids(self.dataset)
            return np.array(convention.of(vocabulary), np.uint8), convention.void
        dtype = np.uint8 if len(vocabulary) < SHORT else np.uint16
        return np.arange(len(vocabulary), dtype=dtype), int(np.iinfo(dtype).max)


class CityscapesIds(ClassIds):
    """`NAME.png`: Cityscapes' label ids (road is 7), 0 for everything else; classes are matched by name."""

    dataset = "cityscapes"


class Ade20kIds(ClassIds):
    """`NAME.png`: ADE20K's scene parsing ids (wall is 1), 0 for everything else; classes are matched by name."""

    dataset = "ade20k_150"


@dataclass(frozen=True)
class IdConvention:
    """How a dataset numbers its classes.

    Attributes:
        dataset: its name.
        ids: the id of a class by each of its names, in small letters.
        void: the id of pixels of no class.
    """

    dataset: str
    ids: dict[str, int]
    void: int = 0

    def of(self, vocabulary: Vocabulary) -> list[int]:
        """The id of every class of a vocabulary; `void` for those that the dataset lacks.

        Raises:
            ValueError: it has none of them.
        """
        ids = [
            next((self.ids[name.casefold()] for name in category.names if name.casefold() in self.ids), self.void)
            for category in vocabulary.categories
        ]
        if all(index == self.void for index in ids):
            raise ValueError(f"none of the {len(ids)} names is a class of {self.dataset}; write class-ids instead")
        return ids


@cache
def dataset_ids(stem: str) -> IdConvention:
    """The convention of "cityscapes" or "ade20k_150"."""
    from fcclip.data.datasets.tables import category_table, vocabulary_lines  # which brings Detectron2 along

    table = category_table(stem)
    first = {"cityscapes": 0, "ade20k_150": 1}[stem]  # ADE20K's files count from 1, its table from 0
    ids: dict[str, int] = {}
    names = [(name, *split_synonyms(line)) for name, (_, line) in zip(table.names, vocabulary_lines(stem), strict=True)]
    for plain in (True, False):  # a dataset's own names come before the synonyms of its other classes
        for index, known in zip(table.ids, names, strict=True):
            for name in known[:1] if plain else known[1:]:
                ids.setdefault(name.casefold(), index + first)
    return IdConvention(stem, ids)


def class_map(result: Result) -> np.ndarray:
    """(H, W) positions in the vocabulary, -1 where there is none: the semantic map, else that of the segments."""
    if result.semantic is not None:
        return result.semantic
    if result.panoptic is None:
        raise ValueError("there is no panoptic or semantic result to write; switch on PANOPTIC_ON or SEMANTIC_ON")
    table = np.full(int(result.panoptic.max(initial=0)) + 1, -1)
    for segment in result.segments:
        table[segment.id] = segment.category_id
    return table[result.panoptic]


def _palette(result: Result, ids: np.ndarray) -> list[int]:
    """768 numbers: the colour of each id; black where no class is, white for 255."""
    palette = np.zeros((SHORT, 3), np.uint8)
    palette[NO_CLASS] = 255
    for category_id, index in reversed(list(enumerate(ids.tolist()))):
        palette[index] = result.color_of(category_id)
    flat: list[int] = palette.ravel().tolist()
    return flat
