"""The rows of a token table that a training uses, as the only ones that it computes gradients and updates of."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenRows(nn.Module):
    """Stands in for a token table: 49408 rows of which captions use a hundred cost a sixth of a step of a small CLIP.

    Args:
        table: the whole table.
        tokens: ids that may occur.
    """

    row_of_token: Tensor

    def __init__(self, table: nn.Embedding, tokens: Collection[int]) -> None:
        super().__init__()
        self._table = [table]  # in a list, so that it is no part of this module's state
        self._kept = torch.tensor(sorted(set(tokens)))
        self.weight = nn.Parameter(table.weight.detach()[self._kept].clone(), table.weight.requires_grad)
        rows = torch.full((table.num_embeddings,), -1)
        rows[self._kept] = torch.arange(len(self._kept))
        self.register_buffer("row_of_token", rows, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Ids (...) -> embeddings (..., D).

        Raises:
            IndexError: a token was not to occur.
        """
        return F.embedding(self.row_of_token[tokens], self.weight)

    @torch.no_grad()
    def whole(self) -> nn.Embedding:
        """The table, with these rows in it."""
        table = self._table[0]
        table.weight[self._kept] = self.weight
        return table
