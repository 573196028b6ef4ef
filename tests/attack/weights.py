"""Weight files: damaged, of other programs, and with programs in them."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from fcclip.files.checkpoints import read_state_dict
from tests.attack.judge import SENTINEL, Attack
from tests.attack.kept import zip_of
from tests.attack.mutations import bit_flips, odd_documents, splices, truncations

# `torch.save(STATE, ..., _use_new_zipfile_serialization=False)`, saved once: the file holds addresses in memory, which
# differ from run to run.
LEGACY = Path(__file__).with_name("legacy.pth").read_bytes()
STATE = {"head.weight": torch.arange(12.0).view(3, 4), "head.bias": torch.ones(3), "steps": torch.tensor(7)}


class Payload:
    """Runs a command when it is unpickled carelessly."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def attacks() -> Iterator[Attack]:
    plain, zipped = save(STATE), _saved(STATE)
    header = 8 + struct.unpack("<Q", plain[:8])[0]
    for what, data in (*truncations(plain, 20), *bit_flips(plain, 120, end=header), *splices(plain[:header], 20)):
        whole = data if len(data) >= header or "cut" in what else data + plain[header:]
        yield Attack(
            f"safetensors, {what}", partial(_read, name="odd.safetensors", data=whole), _is_plain, "odd.safetensors"
        )
    for form, data in (("zip", zipped), ("legacy", LEGACY)):
        for what, cut in truncations(data, 30):
            yield Attack(f"{form}, {what}", partial(_read, name="odd.pth", data=cut), _is_same, "odd.pth")
        for what, changed in (*bit_flips(data, 80), *splices(data, 20)):
            yield Attack(f"{form}, {what}", partial(_read, name="odd.pth", data=changed), _is_plain, "odd.pth")
    yield from _headers(plain)
    yield from _contents()
    yield from _programs()
    yield from _values()


def _saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _read(folder: Path, name: str, data: bytes) -> dict[str, Tensor]:
    (folder / name).write_bytes(data)
    return read_state_dict(folder / name)


def _is_plain(state: Any) -> bool:
    """Tensors of finite numbers, whatever they are: a damaged number without a digest cannot be known."""
    return bool(state) and all(isinstance(t, Tensor) and bool(torch.isfinite(t.float()).all()) for t in state.values())


def _is_same(state: Any) -> bool:
    return state.keys() == STATE.keys() and all(torch.equal(state[key], STATE[key]) for key in STATE)


def _headers(plain: bytes) -> Iterator[Attack]:
    for length in (0, 1, 2, 2**16, 2**31, 2**32, 2**63, 2**64 - 1):
        data = struct.pack("<Q", length) + plain[8:]
        yield Attack(
            f"header of {length} bytes",
            partial(_read, name="odd.safetensors", data=data),
            named="odd.safetensors",
            may_pass=False,
        )
    size = struct.unpack("<Q", plain[:8])[0]
    header = json.loads(plain[8 : 8 + size])
    for what, odd in odd_documents(header):
        text = json.dumps(odd).encode()
        data = struct.pack("<Q", len(text)) + text + plain[8 + size :]
        yield Attack(f"header {what}", partial(_read, name="odd.safetensors", data=data), _is_plain, "odd.safetensors")


def _contents() -> Iterator[Attack]:
    sparse = torch.eye(3).to_sparse()
    quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
    contents: dict[str, Any] = {
        "nothing": None, "a number": 5, "text": "weights", "a list": [torch.ones(2)], "an empty dict": {},
        "lists": {"a": [1.0, 2.0]},
        "numbers as keys": {1: torch.ones(2)}, "an empty model": {"model": {}},
        "a sparse tensor": {"a": sparse}, "a quantized tensor": {"a": quantized},
        "a tensor without data": {"a": torch.ones(3, device="meta")},
        "one number seen as 10^10": {"a": torch.ones(1).expand(100_000, 100_000)}, "NumPy arrays": {"a": np.ones(3)},
        "a state_dict that is text": {"state_dict": "x"}, "a tensor alone": torch.ones(3),
        "optimizer alone": {"optimizer": {"state": {}}},
    }  # fmt: skip
    for what, content in contents.items():
        yield Attack(what, partial(_read, name="odd.pth", data=_saved(content)), named="odd.pth", may_pass=False)
    for wrapper in ("model", "state_dict"):
        yield Attack(
            f"under {wrapper}", partial(_read, name="odd.pth", data=_saved({wrapper: STATE, "iteration": 5})), _is_same
        )
    for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
        data = _saved({prefix + key: value for key, value in STATE.items()})
        yield Attack(f"with {prefix}", partial(_read, name="odd.pth", data=data), _is_same)
    others = {
        "nothing": b"", "a web page": b"<html>rate limited</html>",
        "pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\n",
        "an empty zip": zip_of({}), "a zip of texts": zip_of({"a.txt": b"x"}),
        "a zip with odd names": zip_of({"../../x/data.pkl": b"\x80\x02}q\x00."}),
        "a zip bomb": zip_of({"archive/data.pkl": bytes(50 << 20)}), "zeros": bytes(5000),
        "NumPy": b"\x93NUMPY\x01\x00v\x00" + bytes(80),
        "gzip": b"\x1f\x8b\x08\x00" + bytes(50), "JSON": b'{"a": 1}',
        "TorchScript without code": zip_of({"a/constants.pkl": b"", "a/data.pkl": b""}),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    }  # fmt: skip
    for what, data in others.items():
        for name in ("odd.pth", "odd.safetensors"):
            yield Attack(f"{what} as {name}", partial(_read, name=name, data=data), named=name, may_pass=False)
    for what, path in {
        "no file": "nowhere.pth",
        "an address": "https://example.org/a.pth",
        "NUL": "a\0b",
        "a folder": ".",
    }.items():
        yield Attack(
            what,
            lambda folder, path=path: read_state_dict(folder / path if path != "https://example.org/a.pth" else path),
            may_pass=False,
        )


def _programs() -> Iterator[Attack]:
    command = f"touch {SENTINEL}"
    payloads = {
        "os.system": Payload(os.system, command),
        "exec": Payload(exec, f"open({str(SENTINEL)!r}, 'w')"),
        "eval": Payload(eval, f"open({str(SENTINEL)!r}, 'w')"),
        "Path.touch": Payload(Path.touch, SENTINEL),
        "getattr": Payload(getattr, Path, "touch"),
        "import": Payload(__import__, "os"),
        "torch.load": Payload(torch.load, str(SENTINEL)),
        "numpy object": np.array([Payload(os.system, command)], dtype=object),
    }
    for what, payload in payloads.items():
        for place, content in {
            "alone": payload,
            "in a dict": {"model": payload},
            "beside weights": {**STATE, "x": payload},
        }.items():
            for form in (True, False):
                data = _saved(content, _use_new_zipfile_serialization=form)
                name = f"{what} {place}, {'zip' if form else 'legacy'}"
                yield Attack(name, partial(_read_and_look, name="odd.pth", data=data), named="odd.pth", may_pass=False)
        raw = partial(_read_and_look, name="odd.pkl", data=pickle.dumps(payload))
        yield Attack(f"{what} as a plain pickle", raw, named="odd.pkl", may_pass=False)


def _read_and_look(folder: Path, name: str, data: bytes) -> dict[str, Tensor]:
    try:
        return _read(folder, name, data)
    finally:
        assert not SENTINEL.exists(), "THE FILE WAS RUN"


def _values() -> Iterator[Attack]:
    for kind in (torch.float32, torch.float16, torch.bfloat16, torch.float64):
        for value in (float("nan"), float("inf"), float("-inf")):
            state = {"a": torch.ones(5, dtype=kind), "b": torch.tensor([1.0, value], dtype=kind)}
            yield Attack(
                f"{value} in {kind}",
                partial(_read, name="odd.pth", data=_saved(state)),
                named="odd.pth",
                may_pass=False,
            )
            yield Attack(
                f"{value} in {kind}, safetensors",
                partial(_read, name="odd.safetensors", data=save(state)),
                named="odd.safetensors",
                may_pass=False,
            )
