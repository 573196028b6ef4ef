"""What a run over a video has done so far, in a folder beside its result, so that another run can go on with it.

RESULT.partial/
    video.mp4               what is drawn, to be played at any time
    frames.jsonl            what was found, a line per frame
    stream-N.safetensors    the tracks after frame N
    progress.json           how much of these files counts, and what the run is of; written last
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from fcclip.commands.folder import identity_of
from fcclip.files.atomic import atomic_path, full_disk_told
from fcclip.files.video_writer import VideoMark
from fcclip.inference.tracking.saved import StreamState

Entry = dict[str, Any]  # what was found in a frame, ready for JSON


@dataclass
class PartialRun:
    """The folder, and what it holds.

    Attributes:
        folder: the folder.
        frames: how many are done.
        entries: what was found in them.
        state: of the tracks after them; None without tracks.
        mark: the place after them in `video`; None without a video.
        is_resumable: if not, nothing but the video is kept.
    """

    folder: Path
    settings: dict[str, str]
    frames: int = 0
    entries: list[Entry] = field(default_factory=list)
    state: StreamState | None = None
    mark: VideoMark | None = None
    is_resumable: bool = True
    _size: int = 0  # of the lines on the disk, in bytes
    _new: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, settings: Mapping[str, str], resume: bool, device: torch.device) -> PartialRun:
        """Begin anew, or go on with what is there.

        Args:
            folder: may be missing.
            settings: all that the results depend on, by the names that an error gives them.
            resume: go on.
            device: of the tracks.

        Raises:
            ValueError: there is a run of something else, or a damaged one.
        """
        run = cls(folder, {name: identity_of(value) for name, value in settings.items()})
        if resume and run._progress.is_file():
            run._read(device)
        else:
            run.remove()
            folder.mkdir(parents=True)
        return run

    @property
    def video(self) -> Path:
        """The growing video."""
        return self.folder / "video.mp4"

    @property
    def can_be_resumed(self) -> bool:
        """Whether another run would have anything to go on with."""
        return self._progress.is_file()

    def note(self, entry: Entry) -> None:
        """Add what was found in the next frame; it counts from the next `commit` on."""
        if self.is_resumable:
            self._new.append(json.dumps(entry) + "\n")

    def commit(self, state: StreamState | None, mark: VideoMark | None) -> None:
        """Everything so far is done, and on the disk when this returns.

        Raises:
            OutputError: the disk is full.
        """
        with full_disk_told(self._lines), self._lines.open("r+b" if self._size else "wb") as file:
            file.truncate(self._size)
            file.seek(self._size)
            file.write("".join(self._new).encode())
            size = file.tell()
            _to_disk(file)
        self._size, self.frames = size, self.frames + len(self._new)
        self._new.clear()
        stream = None if state is None else f"stream-{self.frames}.safetensors"
        if state is not None and stream is not None:
            path = self.folder / stream
            with full_disk_told(path), path.open("wb") as file:
                file.write(state.to_bytes())
                _to_disk(file)
        progress = {
            "settings": self.settings,
            "frames": self.frames,
            "size": self._size,
            "stream": stream,
            "mark": None if mark is None else asdict(mark),
        }
        with atomic_path(self._progress) as scratch, scratch.open("wb") as file:
            file.write(json.dumps(progress).encode())
            _to_disk(file)
        for old in self.folder.glob("stream-*.safetensors"):
            if old.name != stream:
                old.unlink()

    def remove(self) -> None:
        """The result is whole, or of no use. Of a folder that is half deleted nothing may seem to be resumable."""
        self._progress.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _progress(self) -> Path:
        return self.folder / "progress.json"

    @property
    def _lines(self) -> Path:
        return self.folder / "frames.jsonl"

    def _read(self, device: torch.device) -> None:
        try:
            progress = json.loads(self._progress.read_bytes())
            begun = dict(progress["settings"])
            lines = self._lines.read_bytes()[: progress["size"]].splitlines()
            entries = [json.loads(line) for line in lines]
            if len(entries) != progress["frames"]:
                raise ValueError(f"{len(entries)} frames instead of {progress['frames']}")
            stream = progress["stream"]
            if stream is not None:
                path = self.folder / Path(stream).name
                self.state = StreamState.from_bytes(path.read_bytes(), device)
            self.mark = None if progress["mark"] is None else VideoMark(**progress["mark"])
            self.frames, self.entries, self._size = len(entries), entries, progress["size"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.folder} is damaged ({error}); leave out --resume to begin anew") from None
        other = [name for name in self.settings if begun.get(name) != self.settings[name]]
        if other:
            raise ValueError(
                f"{self.folder} was begun with another {', '.join(other)}; give the same as then, or leave out "
                "--resume to begin anew"
            )


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
