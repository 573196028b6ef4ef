"""Reading weight files without running anything that is in them."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fcclip.files.additions import base_of
from fcclip.files.packed_weights import unpack_rows
from fcclip.files.torchscript import read_torchscript_state

CLIP_PREFIX = "backbone.clip_model."  # of the names of the CLIP's weights in those of a model
# Of CLIP's text tower there: a file that holds the image trunk alone, or nothing of CLIP, has none of these.
TEXT_TOWER_PREFIXES = (f"{CLIP_PREFIX}token_embedding", f"{CLIP_PREFIX}text.")
CLIP_FINGERPRINT = "clip_fingerprint"  # entry of a training's checkpoints: of the frozen CLIP, which they lack
WRAPPERS = ("model", "state_dict")  # keys under which trainers keep the weights
PREFIXES = ("module.", "_orig_mod.")  # in front of all names: of DistributedDataParallel, of torch.compile
INFINITE_ON_PURPOSE = "attn_mask"  # the end of the name of CLIP's causal mask
LARGEST_EXPANSION = 16  # times a file's size that its tensors may have; those of plain weights have its size


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file: .safetensors, a PyTorch checkpoint, or a TorchScript archive.

    A checkpoint may hold the weights under "model" or "state_dict"; the prefixes that DistributedDataParallel and
    torch.compile put in front of all names are removed. What a file builds on (`fcclip.files.additions`) is read too.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, is of another kind, holds anything but plain data, or weights that are no numbers.
    """
    path = require_weight_file(path)
    checkpoint = read_checkpoint(path)
    for wrapper in WRAPPERS:
        if isinstance(checkpoint, dict) and isinstance(checkpoint.get(wrapper), dict):
            checkpoint = checkpoint[wrapper]
            break
    if not isinstance(checkpoint, dict):
        checkpoint = {}
    tensors = {k: v for k, v in checkpoint.items() if isinstance(v, Tensor) and isinstance(k, str)}
    if not tensors:
        raise ValueError(f"{path} holds no weights; give a checkpoint of a model")
    _check_kind(path, tensors)
    tensors = unpack_rows(_without_prefixes(tensors))
    _check_values(path, tensors)
    base = base_of(path)
    return tensors if base is None else read_state_dict(base) | tensors


def read_entry(path: str | Path, key: str) -> Any:
    """What a PyTorch checkpoint stores under `key` besides the weights; None in files that store weights alone."""
    path = require_weight_file(path)
    if path.suffix == ".safetensors" or is_torchscript_archive(path):
        return None
    checkpoint = read_checkpoint(path)
    return checkpoint.get(key) if isinstance(checkpoint, dict) else None


def read_checkpoint(path: str | Path) -> Any:
    """Everything that a weight file holds, as plain data on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds more than plain data.
    """
    path = require_weight_file(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if is_torchscript_archive(path):
            return read_torchscript_state(path)
        # Only zip files can be mapped; older ones are read whole.
        mapped = zipfile.is_zipfile(path) or None
        with _numpy_scalars_allowed():
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise ValueError(f"{path} is not a plain weight file and is not loaded ({_refused(error)})") from None
    except Exception as error:  # noqa: BLE001 - the readers raise a dozen unrelated types for damaged files
        raise _damaged(path, error) from None


def holds_prefix(path: str | Path, prefix: str | tuple[str, ...]) -> bool:
    """Whether a weight file has a tensor whose name starts with `prefix`, or with one of several.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or is of another kind.
    """
    path = require_weight_file(path)
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                if any(_without_prefix(key).startswith(prefix) for key in file.keys()):  # noqa: SIM118, not a dict
                    return True
            base = base_of(path)
        except (SafetensorError, OSError) as error:
            raise _damaged(path, error) from None
        return base is not None and holds_prefix(base, prefix)
    return any(key.startswith(prefix) for key in read_state_dict(path))


def require_weight_file(path: str | Path) -> Path:
    """The path, if there is a file.

    Raises:
        FileNotFoundError: there is none; says what to do.
    """
    text = str(path)
    if "://" in text:
        raise FileNotFoundError(f"the weights {text} are an address; fetch the file and give its path")
    if "\0" in text:
        raise FileNotFoundError(f"the weights {text!r} are no path of a file")
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file; give the path of a weight file"
            if path.exists()
            else f"there is no weight file {path}; check the path"
        )
    return path


def is_torchscript_archive(path: Path) -> bool:
    """Whether a file was written by `torch.jit.save`: a zip archive that carries code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _without_prefixes(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in (*PREFIXES, *PREFIXES):  # a compiled model in DistributedDataParallel, or the other way round
        if all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    return dict(tensors)


def _without_prefix(key: str) -> str:
    for prefix in (*PREFIXES, *PREFIXES):
        key = key.removeprefix(prefix)
    return key


def _check_kind(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what is no array of numbers, and views that are far larger than the file."""
    size = 0
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise ValueError(f"{path}: {key} is sparse, quantized or without data; save plain tensors instead")
        size += tensor.numel() * tensor.element_size()
    if size > LARGEST_EXPANSION * max(path.stat().st_size, 1 << 16):
        raise ValueError(f"{path} is damaged: its tensors would take {size:,} bytes, far more than the file has")


def _check_values(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for key, tensor in tensors.items():
        if key.endswith(INFINITE_ON_PURPOSE) or not tensor.is_floating_point() or tensor.element_size() == 1:
            continue
        if not torch.isfinite(tensor).all():
            count = int((~torch.isfinite(tensor)).sum())
            raise ValueError(
                f"{path}: {count} of {tensor.numel()} numbers of {key} are NaN or infinite; the training that wrote it "
                "had diverged, or the file is damaged"
            )


def _numpy_scalars_allowed() -> AbstractContextManager[Any]:
    """Numbers of NumPy beside the weights, such as a best score, are plain data too."""
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [np.dtype, *{type(np.dtype(code)) for code in "?bhilqBHILQefd"}]
    allowed += [(scalar, name) for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")]
    return torch.serialization.safe_globals(allowed)


def _refused(error: pickle.UnpicklingError) -> str:
    """What the file holds that is no plain data; PyTorch says it in the middle of a page."""
    named = re.search(r"GLOBAL (\S+)", str(error))
    return f"it refers to {named[1]}" if named else _first_line(error)


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged or not a weight file ({_first_line(error)}); fetch it again")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")
