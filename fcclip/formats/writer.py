"""What every format has in common: results are added one by one; files that cover them all are written at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from fcclip.drawing.style import View
from fcclip.formats.result import Result

DEFAULT_TOLERANCE = 1.0


@dataclass(frozen=True)
class WriterOptions:
    """What can be chosen of a format.

    Attributes:
        view: what is written, "panoptic", "semantic" or "instances"; None for what suits the format and is there.
        tolerance: pixels by which polygons may deviate from their masks, to have fewer corners and no crumbs; 0 is
            exact.

    Raises:
        ValueError: the tolerance is negative.

    Examples:
        >>> WriterOptions(view="semantic").tolerance
        1.0
    """

    view: View | None = None
    tolerance: float = DEFAULT_TOLERANCE

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise ValueError(f"tolerance is a number of pixels from 0, not {self.tolerance}")


DEFAULT_OPTIONS = WriterOptions()


class Writer(ABC):
    """Writes results into a folder in one format.

    Args:
        folder: where the files go; it is made.
        options: what can be chosen.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from fcclip.formats.registry import open_format
        >>> from fcclip.vocabulary import Vocabulary
        >>> image, labels = np.zeros((2, 3, 3), np.uint8), np.array([[0, 0, 1]] * 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     writer = open_format("class-ids", folder)
        ...     for name in ("one.jpg", "two.jpg"):
        ...         _ = writer.add(Result(image, Vocabulary.of("cat; sky=stuff"), semantic=labels), name)
        ...     _ = writer.finish()
        ...     sorted(path.name for path in Path(folder).glob("*.png"))
        ['one.png', 'two.png']
    """

    def __init__(self, folder: str | Path, options: WriterOptions = DEFAULT_OPTIONS) -> None:
        self.folder = Path(folder)
        self.options = options
        self._image_of: dict[Path, str] = {}

    @abstractmethod
    def add(self, result: Result, image: str) -> list[Path]:
        """Write a result, or keep it for `finish`.

        Args:
            result: what was found.
            image: the picture's file name; files are named after it, without its suffix. Folders in it are kept.

        Returns:
            The files that were written now.
        """

    def finish(self) -> list[Path]:
        """Write what covers all results, and return those files."""
        return []

    def path(self, image: str, ending: str) -> Path:
        """The file of a picture: its name with `ending` in place of its suffix, in the folder.

        Raises:
            ValueError: another picture has that file.
        """
        path = self.folder / Path(image).with_name(f"{Path(image).stem}{ending}")
        other = self._image_of.setdefault(path, image)
        if other != image:
            raise ValueError(f"{other} and {image} would both be written to {path}; rename one of them")
        return path
