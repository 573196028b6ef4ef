"""Which class names a model was asked for: results depend on them, and published figures need the published lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fcclip.files.vocabularies import PUBLISHED, description

OURS, DATASET = "project", "dataset"


@dataclass(frozen=True)
class ClassNames:
    """The names of an evaluation.

    Attributes:
        lists: "project" for the lists of this package, "published" for those of the FC-CLIP release, "dataset" where
            the dataset names its classes itself, else the folder of the lists.
        classes: how many there are.
        seen: how many of them count as seen in training, because they share a name with a class of it.
    """

    lists: str
    classes: int
    seen: int

    def sentence(self) -> str:
        """For the log and the report."""
        seen = f"{self.seen} of {self.classes} classes count as seen in training"
        if self.lists == PUBLISHED:
            return f"Class names: the published lists (commit {description()['commit'][:12]}); {seen}"
        if self.lists == DATASET:
            return f"Class names: those of the dataset; {seen}"
        lists = "the lists of this project" if self.lists == OURS else f"the lists in {self.lists}"
        return (
            f"Class names: {lists}; {seen}. Published figures need the published lists: "
            f"MODEL.FC_CLIP.VOCABULARY_DIR {PUBLISHED}"
        )


def class_names_of(model: Any, metadata: Any, vocabulary_dir: str) -> ClassNames | None:
    """The names that a model is asked for; None of a model that has no vocabularies.

    Args:
        model: after `set_metadata`.
        metadata: of the dataset.
        vocabulary_dir: MODEL.FC_CLIP.VOCABULARY_DIR.
    """
    vocabularies: Any = getattr(model, "vocabularies", None)
    if not hasattr(vocabularies, "seen_flags"):
        return None
    seen = vocabularies.seen_flags()
    lists = (vocabulary_dir or OURS) if metadata.get("vocabulary") else DATASET
    return ClassNames(lists, len(seen), sum(seen))
