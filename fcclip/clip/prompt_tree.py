"""Prompts as a tree of tokens, in which those that begin alike share the beginning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class PromptTree:
    """Every beginning of a prompt once.

    What a causal tower computes for a token depends on the tokens before it alone, and so is the same for all prompts
    that begin alike. A node is a token with all that stand before it.

    Attributes:
        tokens: (N,) the token of each node.
        positions: (N,) its place in a prompt.
        nodes: (n, L) the node at each place of each prompt; places after the end have the end's.
        places: (N,) a place in the flattened `nodes` where each node stands.
        ends: (n,) the node at the end of each prompt.
    """

    tokens: Tensor
    positions: Tensor
    nodes: Tensor
    places: Tensor
    ends: Tensor

    @classmethod
    def build(cls, tokens: Tensor, device: torch.device) -> PromptTree:
        """The tree of prompts, on a device.

        Args:
            tokens: (n, context length) int64; the end token has the largest id.
            device: where the tree is.
        """
        prompts = tokens.cpu().numpy()
        ends = prompts.argmax(axis=1)
        prompts = prompts[:, : ends.max() + 1]
        order = np.lexsort(prompts.T[::-1])  # neighbours share the most
        in_order = prompts[order]
        differs = np.ones(prompts.shape, dtype=bool)
        differs[1:] = np.logical_or.accumulate(in_order[1:] != in_order[:-1], axis=1)
        first = differs & (np.arange(prompts.shape[1]) <= ends[order, None])  # the first prompt that has this beginning
        numbers = np.where(first, first.cumsum().reshape(first.shape) - 1, -1)
        nodes = np.empty_like(prompts)
        nodes[order] = np.maximum.accumulate(numbers, axis=0)
        end_nodes = nodes[np.arange(len(prompts)), ends]
        nodes = np.where(np.arange(prompts.shape[1]) <= ends[:, None], nodes, end_nodes[:, None])
        rows, positions = np.nonzero(first)
        places = order[rows] * prompts.shape[1] + positions
        arrays = (prompts[order[rows], positions], positions, nodes, places, end_nodes)
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))
