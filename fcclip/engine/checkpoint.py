"""Checkpoints of a training: written whole or not at all, without the frozen CLIP, read as plain data."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch import Tensor, nn

from fcclip.files.atomic import atomic_path, remove_scratch
from fcclip.files.checkpoints import CLIP_FINGERPRINT, CLIP_PREFIX, holds_prefix, read_checkpoint
from fcclip.weights import fingerprint, load_weights

logger = logging.getLogger(__name__)


class TrainingCheckpointer(Checkpointer):
    """Detectron2's checkpointer, safe against being killed.

    A file appears under its name only when all of it is on the disk, and `last_checkpoint` is changed after that: at
    any moment it names a whole checkpoint. What is stored: "model" (without the CLIP, if that is frozen), the states of
    the checkpointables, `CLIP_FINGERPRINT`, and what the caller of `save` adds.
    """

    def __init__(self, model: nn.Module, save_dir: str, **checkpointables: Any) -> None:
        super().__init__(model, save_dir, save_to_disk=comm.is_main_process(), **checkpointables)
        self._clip_fingerprint: str | None = None

    def save(self, name: str, **kwargs: Any) -> None:
        """Write `name`.pth with everything that `--resume` needs, and make it the last checkpoint.

        All processes must call it, because all have a state; the main one writes.

        Raises:
            RuntimeError: it could not be written; says why. Earlier checkpoints are as they were.
        """
        states = {key: checkpointable.state_dict() for key, checkpointable in self.checkpointables.items()}
        if self.save_to_disk:
            self._write(name, {**states, **kwargs})
            self.tag_last_checkpoint(f"{name}.pth")

    def save_weights(self, name: str, **kwargs: Any) -> None:
        """Write `name`.pth with the model alone; `--resume` does not look at it. Other processes may skip this."""
        if self.save_to_disk:
            self._write(name, kwargs)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        _write_synced(Path(self.save_dir) / "last_checkpoint", lambda file: file.write(last_filename_basename.encode()))

    def remove_leftovers(self) -> None:
        """Delete what killed runs had written of files that were never finished."""
        if self.save_to_disk:
            for path in remove_scratch(self.save_dir):
                logger.info("removed %s, left by a run that was killed", path)

    def resume_or_load(self, path: str, *, resume: bool = True) -> dict[str, Any]:
        """Load the last checkpoint if there is one and `resume` asks for it, else `path`; see `load`.

        Checkpoints lack the frozen CLIP: if the training began with a file that holds one, it is taken from there.
        """
        if resume and self.has_checkpoint() and path and holds_prefix(path, CLIP_PREFIX):
            load_weights(self.model, path)
        rest: dict[str, Any] = super().resume_or_load(path, resume=resume)
        return rest

    def load(self, path: str, checkpointables: Sequence[str] | None = None) -> dict[str, Any]:
        """Load a checkpoint.

        Args:
            path: the file; "" to start from the model as it is.
            checkpointables: names of what is loaded besides the model; None for all. With [] the file may be any that
                `fcclip.weights.load_weights` reads, and must fit the model's CLIP only.

        Returns:
            What the file holds besides.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, belongs to another model, or was trained with another CLIP.
        """
        if not path:
            logger.info("no checkpoint is loaded: the mask generator starts from random weights")
            return {}
        content = read_checkpoint(path) if Path(path).suffix == ".pth" else {}
        content = dict(content) if isinstance(content, dict) else {}
        load_weights(self.model, path)
        content.pop("model", None)
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key not in content:
                raise ValueError(
                    f'{path} cannot be resumed: it has no "{key}"; start with MODEL.WEIGHTS {path} instead'
                )
            self.checkpointables[key].load_state_dict(content.pop(key))
        return content

    def _write(self, name: str, content: dict[str, Any]) -> None:
        path = Path(self.save_dir) / f"{name}.pth"
        logger.info("saving checkpoint to %s", path)
        state = {"model": self._trained_weights(), CLIP_FINGERPRINT: self._fingerprint(), **content}
        _write_synced(path, lambda file: torch.save(state, file))

    def _trained_weights(self) -> dict[str, Tensor]:
        """The state dict, less the CLIP where no part of it was trained."""
        state = self.model.state_dict()
        if _frozen_clip(self.model) is None:
            return dict(state)
        return {key: tensor for key, tensor in state.items() if not key.startswith(CLIP_PREFIX)}

    def _fingerprint(self) -> str | None:
        """Of the frozen CLIP; it does not change, so that hashing it once is enough."""
        clip = _frozen_clip(self.model)
        if clip is not None and self._clip_fingerprint is None:
            self._clip_fingerprint = fingerprint(clip)
        return self._clip_fingerprint


def _write_synced(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Write a file that is on the disk in full before it gets its name."""
    try:
        with atomic_path(path) as scratch, scratch.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # PyTorch's zip writer raises RuntimeError when the disk is full
        raise RuntimeError(
            f"{path} could not be written ({_first_line(error)}); make room on the disk and go on from the last whole "
            "checkpoint with --resume"
        ) from error


def _frozen_clip(model: nn.Module) -> nn.Module | None:
    """The model's CLIP if nothing in it is trained, or was in an earlier training."""
    clip: nn.Module | None = getattr(getattr(model, "backbone", None), "clip_model", None)
    tuned: tuple[str, ...] = getattr(model, "tuned_weights", ())
    if clip is None or tuned or any(parameter.requires_grad for parameter in clip.parameters()):
        return None
    return clip


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
