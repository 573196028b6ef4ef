"""Reading weight files without running anything that is in them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fcclip.files.packed_weights import unpack_rows
from fcclip.files.torchscript import read_torchscript_state

WRAPPERS = ("model", "state_dict")  # keys under which trainers keep the weights


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file: .safetensors, a PyTorch checkpoint, or a TorchScript archive.

    A checkpoint may hold the weights under "model" or "state_dict"; a "module." prefix is removed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, is of another kind, or holds anything but plain data.
    """
    path = Path(path).expanduser()
    checkpoint = _read(path)
    for wrapper in WRAPPERS:
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
            break
    tensors = {k: v for k, v in checkpoint.items() if isinstance(v, Tensor)} if isinstance(checkpoint, dict) else {}
    if not tensors:
        raise ValueError(f"{path} holds no weights; give a checkpoint of a model")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    return unpack_rows(tensors)


def read_entry(path: str | Path, key: str) -> Any:
    """What a PyTorch checkpoint stores under ``key`` besides the weights; None in files that store weights alone."""
    path = Path(path).expanduser()
    if path.suffix == ".safetensors" or is_torchscript_archive(path):
        return None
    checkpoint = _read(path)
    return checkpoint.get(key) if isinstance(checkpoint, dict) else None


def holds_prefix(path: str | Path, prefix: str) -> bool:
    """Whether a weight file has a tensor whose name starts with ``prefix``; False where there is no such file."""
    path = Path(path).expanduser()
    if not path.is_file():
        return False
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            return any(key.startswith(prefix) for key in file.keys())  # noqa: SIM118, not a dict
    return any(key.startswith(prefix) for key in read_state_dict(path))


def is_torchscript_archive(path: Path) -> bool:
    """Whether a file was written by ``torch.jit.save``: a zip archive that carries code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no weight file {path}; check the path")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if is_torchscript_archive(path):
            return read_torchscript_state(path)
        # Only zip files can be mapped; older ones are read whole.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} is not a plain weight file and is not loaded ({_first_line(error)})") from None
    except (SafetensorError, RuntimeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged or not a weight file ({_first_line(error)}); fetch it again") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")
