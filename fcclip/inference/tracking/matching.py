"""Which query of a frame is the same object as which query of the frames before: assignment by cosine."""

from __future__ import annotations

from collections import deque

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def match_queries(memory: Tensor, current: Tensor) -> Tensor:
    """The assignment with the greatest sum of cosines.

    Args:
        memory: (Q, D) query embeddings of the frame before, in the order of slots.
        current: (Q, D) those of this frame, in the order of its queries.

    Returns:
        (Q,) int64 on the CPU: the query of this frame that belongs to each slot.

    Raises:
        ValueError: an embedding is zero or not finite.

    Source: Huang et al., "MinVIS: A Minimal Video Instance Segmentation Framework", NeurIPS 2022, section 3.2.
    """
    return _assign(_costs(memory[None], current)[0])


class SlotMatcher:
    """Puts the queries of every frame into the same order, that of slots: the queries of the first frame.

    With more than one frame of memory, those frames vote: the matrices of costs against the `votes` memories that fit
    best are averaged, recent ones weighing more, so that one bad frame does not cost all identities.

    Args:
        frames: length of the memory; 1 is MinVIS.
        votes: how many memories vote; while there are fewer, the one that fits best decides alone.

    Source: Zhu et al., "CLIP-VIS: Adapting CLIP for Open-Vocabulary Video Instance Segmentation", 2024, section 3.4.
    """

    def __init__(self, frames: int = 1, votes: int = 1) -> None:
        if frames < 1 or votes < 1:
            raise ValueError(f"a memory has at least one frame and one vote, not {frames} and {votes}")
        self._votes = votes
        self._memory: deque[Tensor] = deque(maxlen=frames)

    def match(self, embeddings: Tensor) -> Tensor:
        """Match a frame, without remembering it.

        Args:
            embeddings: (Q, D), in the order of its queries.

        Returns:
            (Q,) int64 on the CPU: the query of each slot; the identity for the first frame.
        """
        if not self._memory:
            return torch.arange(len(embeddings))
        costs = _costs(torch.stack(tuple(self._memory)), embeddings)
        assignments = [_assign(cost) for cost in costs]
        totals = torch.stack([cost.gather(1, a[:, None]).sum() for cost, a in zip(costs, assignments, strict=True)])
        if len(costs) < self._votes or len(costs) == 1:
            return assignments[int(totals.argmin())]
        chosen = totals.topk(self._votes, largest=False).indices
        weights = (chosen + 1).to(costs.dtype)  # the oldest memory has position 1
        return _assign((costs[chosen] * weights[:, None, None]).mean(dim=0))

    def similarity(self, aligned: Tensor) -> float | None:
        """Mean cosine of embeddings (Q, D), in the order of slots, and those of the last frame; None without one."""
        if not self._memory:
            return None
        return float(torch.nn.functional.cosine_similarity(self._memory[-1], aligned, dim=-1).mean())

    def remember(self, aligned: Tensor) -> None:
        """Add embeddings (Q, D) in the order of slots; the oldest ones drop out."""
        self._memory.append(aligned)

    @property
    def memory(self) -> tuple[Tensor, ...]:
        """What is remembered, the oldest first."""
        return tuple(self._memory)

    def forget(self) -> None:
        """Begin anew."""
        self._memory.clear()


def _costs(memories: Tensor, current: Tensor) -> Tensor:
    """1 - cosine, (N, slots, queries) on the CPU, of memories (N, Q, D) and a frame (Q, D)."""
    unit = current.float() / current.float().norm(dim=-1, keepdim=True)
    memories = memories.float() / memories.float().norm(dim=-1, keepdim=True)
    # The current frame stands on the left as in the published code, whose ties the last bit decides.
    costs = (1 - unit @ memories.transpose(1, 2)).transpose(1, 2).cpu()
    if not torch.isfinite(costs).all():
        raise ValueError(
            "a query embedding is zero or not a finite number, so queries cannot be matched; are the weights whole?"
        )
    return costs


def _assign(cost: Tensor) -> Tensor:
    """(Q,) the column of each row in the cheapest assignment of a (Q, Q) matrix."""
    return torch.from_numpy(linear_sum_assignment(cost.numpy())[1])
