"""The tensors of a TorchScript archive, read as data: its code is neither loaded nor run.

OpenAI published its CLIP models in this format. An archive is a zip file: `data.pkl` describes the module tree, and
each storage lies in a file of its own. The description is unpickled with an allow-list: modules become bags of
attributes, tensors are rebuilt from their storages, and everything else is refused.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LARGEST_DESCRIPTION = 1 << 24  # bytes of data.pkl; those of CLIP have less than a hundredth of it


class _Module:
    """Stands for any scripted module: keeps the attributes that the pickle sets."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def _rebuild_tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    if math.prod(size) > storage.numel():
        raise pickle.UnpicklingError(f"a tensor of {math.prod(size)} numbers lies in a storage of {storage.numel()}")
    return torch.as_strided(storage, size, stride, offset)


def _keep(value: Any, *_: Any) -> Any:
    return value


_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _keep,
    ("torch.jit._pickle", "build_intlist"): _keep,
    ("torch.jit._pickle", "build_doublelist"): _keep,
    ("torch.jit._pickle", "build_boollist"): _keep,
    ("torch.jit._pickle", "build_tensorlist"): _keep,
    ("torch.jit._pickle", "restore_type_tag"): _keep,
}
_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class _Reader(pickle.Unpickler):
    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive = archive
        self._root = root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")

    def persistent_load(self, identity: Any) -> Tensor:
        _, kind, key, _, _ = identity
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=_DTYPES[kind]) if data else torch.empty(0)
        return self._storages[key]


def read_torchscript_state(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of a TorchScript archive by their dotted names; floats as float32.

    Raises:
        pickle.UnpicklingError: the archive refers to anything but modules, tensors and plain values.
    """
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        if archive.getinfo(name).file_size > LARGEST_DESCRIPTION:
            raise pickle.UnpicklingError(f"{name} is far larger than the description of a model")
        module = _Reader(archive, name.removesuffix("/data.pkl")).load()
    return dict(_walk(module, ""))


def _walk(module: _Module, prefix: str) -> list[tuple[str, Tensor]]:
    found: list[tuple[str, Tensor]] = []
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            found.append((prefix + name, value.float() if value.is_floating_point() else value))
        elif isinstance(value, _Module):
            found.extend(_walk(value, f"{prefix}{name}."))
    return found
