"""Videos: cut, damaged, of other kinds, and with headers that lie."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np

from fcclip.files.video import VideoReader
from fcclip.files.video_writer import open_video_writer
from tests.attack.images import encoded
from tests.attack.judge import Attack
from tests.attack.mutations import bit_flips, splices, truncations

FRAMES, WIDTH, HEIGHT = 8, 32, 24


def attacks() -> Iterator[Attack]:
    for name in ("odd.mp4", "odd.avi"):
        data = _clip(name)
        yield Attack(f"{name}, whole", partial(_read, name=name, data=data), lambda found: found == (FRAMES, []))
        for what, changed in (*truncations(data, 20), *bit_flips(data, 40), *splices(data, 20)):
            yield Attack(f"{name}, {what}", partial(_read, name=name, data=changed), _is_bounded, name)
    others = {
        "nothing": b"", "text": b"no video\n", "a web page": b"<html></html>", "zeros": bytes(4096),
        "a playlist": b"#EXTM3U\n/etc/passwd\n",
        "a list of files": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "an SDP file": b"v=0\no=- 0 0 IN IP4 127.0.0.1\n",
        "an MP4 without frames": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + b"\x00\x00\x00\x08mdat",
    }  # fmt: skip
    for what, data in others.items():
        for name in ("odd.mp4", "odd.avi", "odd.mkv"):
            yield Attack(f"{what} as {name}", partial(_read, name=name, data=data), named=name, may_pass=False)
    for name in ("odd.mp4", "odd.png"):
        yield Attack(f"a picture as {name}", partial(_read, name=name, data=encoded("PNG", "RGB")), _is_bounded, name)
    avi = bytearray(_clip("odd.avi"))
    place = avi.index(b"strh") + 8 + 32  # the length of the stream, in frames
    for count in (0, 1, 2**31 - 1, 2**32 - 1):
        avi[place : place + 4] = struct.pack("<I", count)
        yield Attack(
            f"a header of {count} frames", partial(_read, name="odd.avi", data=bytes(avi)), _is_bounded, "odd.avi"
        )
    yield Attack("no file", lambda folder: _frames_of(folder / "odd.mp4"), named="odd.mp4", may_pass=False)
    yield Attack("a folder", _frames_of, may_pass=False)
    yield Attack("a device", lambda folder: _frames_of(Path("/dev/zero")), named="/dev/zero", may_pass=False)


@cache
def _clip(name: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        if path.suffix == ".mp4":
            with open_video_writer(path, 10, (WIDTH, HEIGHT)) as writer:
                for frame in noise:
                    writer.write(frame)
        else:
            output = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
            for frame in noise:
                output.write(frame)
            output.release()
        return path.read_bytes()


Found = tuple[int, list[str]]


def _read(folder: Path, name: str, data: bytes) -> Found:
    (folder / name).write_bytes(data)
    return _frames_of(folder / name)


def _frames_of(path: Path) -> Found:
    with VideoReader(path) as reader:
        frames = list(reader)
        assert all(frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 for frame in frames)
        return len(frames), reader.problems


def _is_bounded(found: Found) -> bool:
    """At least a frame, not more than a damaged header can make of a few, and each loss in one sentence."""
    count, problems = found
    return 0 < count <= 2 * FRAMES and all("\n" not in problem for problem in problems)
