"""The state of a stream that is followed, as bytes that are safe to read: tensors and JSON, nothing is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fcclip.inference.tracking.tracker import TrackerState
from fcclip.inference.tracking.tracks import BookState

TENSORS = ("sums", "weights", "void_frames")  # of the tracker


@dataclass(frozen=True)
class StreamState:
    """Where a stream stands after a frame.

    Attributes:
        tracker: of queries and classes.
        book: of tracks.
    """

    tracker: TrackerState
    book: BookState

    def to_bytes(self) -> bytes:
        """Everything, every bit of the tensors included."""
        book = asdict(self.book)
        tensors = {name: getattr(self.tracker, name) for name in TENSORS}
        tensors |= {"memory": torch.stack(self.tracker.memory), "embeddings": book.pop("embeddings")}
        numbers = {"similarities": self.tracker.similarities, "size": self.tracker.size, "book": book}
        tensors["numbers"] = torch.frombuffer(bytearray(json.dumps(numbers).encode()), dtype=torch.uint8)
        return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})

    @classmethod
    def from_bytes(cls, data: bytes, device: torch.device | str = "cpu") -> StreamState:
        """The state that `to_bytes` gave, with the tracker's tensors on a device.

        Raises:
            ValueError: these are no such bytes.
        """
        try:
            return _parse(load(data), device)
        except (SafetensorError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise ValueError(f"these bytes are not the state of a stream: {error}") from None


def _parse(tensors: Mapping[str, Tensor], device: torch.device | str) -> StreamState:
    numbers: dict[str, Any] = json.loads(tensors["numbers"].numpy().tobytes().decode())
    tracker = TrackerState(
        memory=tuple(tensors["memory"].to(device)),
        **{name: tensors[name].to(device) for name in TENSORS},
        similarities=tuple(numbers["similarities"]),
        size=tuple(numbers["size"]),
    )
    return StreamState(tracker, BookState(embeddings=tensors["embeddings"], **numbers["book"]))
