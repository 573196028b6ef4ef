"""The class lists that can be asked for by name: COCO's, ADE20K's and LVIS's."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from fcclip.vocabulary import Vocabulary

BUILTIN_VOCABULARIES = ("coco", "ade", "lvis")  # of 133, 150 and 1203 classes


def builtin_vocabulary(name: str, vocabulary_dir: str | Path = "") -> Vocabulary:
    """The classes of "coco", "ade" or "lvis", with their synonyms and colours.

    Args:
        name: one of `BUILTIN_VOCABULARIES`.
        vocabulary_dir: folder of vocabulary files to take the names from instead of the shipped ones.

    Raises:
        ValueError: there is no such list.
    """
    if name not in BUILTIN_VOCABULARIES:
        raise ValueError(f'there is no built-in vocabulary "{name}"; choose from {", ".join(BUILTIN_VOCABULARIES)}')
    from detectron2.data.catalog import Metadata  # which takes PyTorch's time

    return Vocabulary.from_metadata(Metadata(name=name, **_classes(name)), vocabulary_dir)


def _classes(name: str) -> dict[str, Any]:
    from fcclip.data.datasets.lvis import lvis_classes
    from fcclip.data.datasets.tables import panoptic_table_metadata

    if name == "lvis":
        return lvis_classes()
    return panoptic_table_metadata({"coco": "coco_panoptic", "ade": "ade20k_150"}[name])


def join_vocabularies(vocabularies: Iterable[Vocabulary]) -> Vocabulary:
    """One vocabulary of all classes: first the things of each in turn, then the stuff, as in the published demo.

    A class that several lists contain stays several classes, as it does there. Negatives stay negatives.
    """
    both = reduce(operator.add, vocabularies)
    return replace(both, categories=tuple(sorted(both.categories, key=lambda category: not category.is_thing)))
