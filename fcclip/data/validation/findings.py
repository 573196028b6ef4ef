"""What is found out about a dataset: problems, things that were mended or left out, and counts per class."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

FILES, SIZES, IDS, PIXELS = "files", "sizes", "ids", "pixels"
CHECKS = (FILES, SIZES, IDS, PIXELS)
_told: set[str] = set()  # notes that this process has logged


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        check: which check found it.
        file: the file that it is about.
        message: what is wrong, as a clause.
    """

    check: str
    file: str
    message: str


@dataclass
class Note:
    """Something that was mended or left out, as often as it occurred.

    Attributes:
        count: how often.
        example: the first occurrence: file and annotation.
    """

    count: int
    example: str


@dataclass
class Findings:
    """All that is found out about a dataset.

    Attributes:
        problems: what makes the dataset useless until it is corrected.
        notes: what was mended or left out, by reason.
        listed, loaded: objects or segments of each class that the annotations list, and that training and evaluation
            use. The keys are category ids, class ids or names.
        left_out: (class, reason) -> how many were not loaded.
    """

    problems: list[Problem] = field(default_factory=list)
    notes: dict[str, Note] = field(default_factory=dict)
    listed: Counter[Hashable] = field(default_factory=Counter)
    loaded: Counter[Hashable] = field(default_factory=Counter)
    left_out: Counter[tuple[Hashable, str]] = field(default_factory=Counter)

    def problem(self, check: str, file: object, message: str) -> None:
        """Record something that is wrong with a file."""
        self.problems.append(Problem(check, str(file), message))

    def note(self, reason: str, example: str, count: int = 1) -> None:
        """Record something that was mended or left out; only the first example of a reason is kept."""
        self.notes.setdefault(reason, Note(0, example)).count += count

    def leave_out(self, category: Hashable, reason: str) -> None:
        """Record an object that is listed but not loaded."""
        self.left_out[category, reason] += 1

    def merge(self, other: Findings) -> None:
        """Add the findings of another part of the same dataset."""
        self.problems += other.problems
        for reason, note in other.notes.items():
            self.note(reason, note.example, note.count)
        for mine, theirs in ((self.listed, other.listed), (self.loaded, other.loaded)):
            mine.update(theirs)
        self.left_out.update(other.left_out)

    def sentences(self) -> list[str]:
        """The notes, one sentence each."""
        return [f"{reason}: {note.count} (first: {note.example})" for reason, note in self.notes.items()]

    def settle(self, dataset: str) -> None:
        """Log the notes, once in a process, and refuse a dataset that has problems.

        Raises:
            FileNotFoundError, ValueError: there is a problem; names the first one and says how to see all.
        """
        for sentence in self.sentences():
            text = f"{dataset}: {sentence}"
            if text not in _told:
                _told.add(text)
                logger.warning("%s", text)
        refuse(dataset, self.problems)


def refuse(dataset: str, problems: Sequence[Problem]) -> None:
    """Refuse a dataset that has problems.

    Raises:
        FileNotFoundError, ValueError: there is one; names the first, and says how to see all.
    """
    if not problems:
        return
    first = problems[0]
    more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
    error = FileNotFoundError if first.check == FILES else ValueError
    raise error(
        f'dataset "{dataset}": {first.file} {first.message}{more}; '
        f"`python -m fcclip.data.check {dataset}` lists all that is wrong"
    )
