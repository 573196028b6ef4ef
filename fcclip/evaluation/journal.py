"""What is already evaluated, on disk, so that an interrupted evaluation goes on where it stopped.

Every process appends one line of JSON per finished image to a file of its own. The first line holds a digest of all
that the numbers depend on; lines under another digest are worthless and are removed.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from fcclip.evaluation.base import ImageStatistics
from fcclip.files.atomic import full_disk_told, write_all

logger = logging.getLogger(__name__)


class Journal:
    """Finished images of one evaluation: file name -> evaluator's name -> statistics.

    Args:
        folder: where the files of all processes are.
        digest: what the evaluation is of, see `fcclip.evaluation.identity`.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder = folder
        self._digest = digest

    def read(self) -> dict[str, dict[str, ImageStatistics]]:
        """The images finished under this digest; if there are only others, the folder is removed.

        A line that was cut short by the interruption, or that is damaged, is skipped.
        """
        finished: dict[str, dict[str, ImageStatistics]] = {}
        others = 0
        for path in sorted(self.folder.glob("rank*.jsonl")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            if not lines or _parse(lines[0]).get("digest") != self._digest:
                others += max(0, len(lines) - 1)
                path.unlink()
                continue
            for entry in map(_parse, lines[1:]):
                if isinstance(entry.get("image"), str) and isinstance(entry.get("statistics"), dict):
                    finished[entry["image"]] = entry["statistics"]
        if others:
            logger.warning(
                "%s holds %d images that were measured with other weights, settings, pictures or ground truth; they "
                "are measured again",
                self.folder,
                others,
            )
        if not finished:
            self.remove()
        return finished

    def open(self, rank: int) -> JournalWriter:
        """Start or continue the file of one process."""
        return JournalWriter(self.folder / f"rank{rank}.jsonl", self._digest)

    def remove(self) -> None:
        """Forget everything: the evaluation is complete, or of something else.

        Of a folder that is half deleted nothing may seem to be finished: its pictures may be gone.
        """
        for path in self.folder.glob("rank*.jsonl"):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class JournalWriter:
    """Appends finished images; a context manager that closes the file."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not path.exists()
        self._file = path.open("ab", buffering=0)  # nothing waits to be written when it is closed
        # A line that was cut short must not swallow the next one.
        self._write(json.dumps({"digest": digest}) if is_new else "")

    def append(self, image: str, statistics: dict[str, ImageStatistics]) -> None:
        """Record an image; it is safe from the death of this process when the call returns.

        Raises:
            OutputError: the disk is full.
        """
        self._write(json.dumps({"image": image, "statistics": statistics}))

    def _write(self, line: str) -> None:
        with full_disk_told(self._path):
            write_all(self._file, f"{line}\n".encode())

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _parse(line: str) -> dict[str, Any]:
    """The object of a line; {} if it holds none."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
