"""Digests of weights, to tell whether two models are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def fingerprint_tensors(tensors: Mapping[str, Tensor], description: Iterable[str] = ()) -> str:
    """SHA-256 of named tensors (names, types, shapes and every bit of them).

    Args:
        tensors: in any order, on any device.
        description: what the tensors do not show, such as the name of an architecture.
    """
    digest = hashlib.sha256("\n".join(description).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
