"""Weight files in which a large embedding table keeps only the rows that were trained.

A small CLIP knows a hundred of the 49408 tokens of its tokenizer; the other rows were never trained. A packed file has,
instead of the table `X`, the kept rows under `X` and under `X.row_of_token` the place of each token's row among
them, -1 for a token without one. Such a token's embedding is zero after unpacking.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

SUFFIX = ".row_of_token"


def pack_rows(state: Mapping[str, Tensor], key: str, rows: Collection[int]) -> dict[str, Tensor]:
    """A copy of `state` whose table `key`, (tokens, width), keeps only some `rows`."""
    kept = torch.tensor(sorted(set(rows)))
    row_of_token = torch.full((len(state[key]),), -1, dtype=torch.int16 if len(kept) < 1 << 15 else torch.int32)
    row_of_token[kept] = torch.arange(len(kept), dtype=row_of_token.dtype)
    return {**state, key: state[key][kept].contiguous(), key + SUFFIX: row_of_token}


def unpack_rows(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole tables of a packed state; any other state as it is."""
    unpacked = {key: tensor for key, tensor in state.items() if not key.endswith(SUFFIX)}
    for key in state.keys() - unpacked.keys():
        table, row_of_token = state[key.removesuffix(SUFFIX)], state[key].long()
        whole = table.new_zeros(len(row_of_token), *table.shape[1:])
        known = row_of_token >= 0
        whole[known] = table[row_of_token[known]]
        unpacked[key.removesuffix(SUFFIX)] = whole
    return unpacked
