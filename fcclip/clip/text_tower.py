"""CLIP's text tower, run on prompts no longer than they are, each beginning once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fcclip.clip.prompt_tree import PromptTree
from fcclip.clip.shared_prompts import encode_tree, shares_prompts

_NOT_TEXT = ("visual.", "logit_")  # of open_clip's `CLIP`, which is its own text tower


def encode_text(clip_model: nn.Module, tokens: Tensor) -> Tensor:
    """Encode tokenised prompts, what several of them begin with once.

    The tower's attention is causal and the embedding is read at the end token. So nothing after it matters, and what
    comes before a token is the same for all prompts that begin alike: prompts are a tree (`PromptTree`), which for the
    classes of a vocabulary in several templates has less than half of their tokens. Where gradients are needed, or the
    tower is of an unusual kind, it is `encode_one_by_one`.

    Args:
        clip_model: open_clip's `CLIP` or `CustomTextCLIP`.
        tokens: (n, context length) int64; the end token has the largest id, zeros follow it.

    Returns:
        (n, E) text embeddings, not normalised; those of both ways are equal to 1e-6.
    """
    tower = text_tower(clip_model)
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or not shares_prompts(tower):
        return encode_one_by_one(clip_model, tokens)
    return _project(tower, encode_tree(tower, PromptTree.build(tokens, tower.positional_embedding.device)))


def encode_one_by_one(clip_model: nn.Module, tokens: Tensor) -> Tensor:
    """As `encode_text`, prompts one beside the other, trimmed to the longest.

    Works with every open_clip from 2.24 on, whose transformer takes (batch, length, width) since 2.26 and (length,
    batch, width) before.
    """
    return encode_trimmed(clip_model, tokens[:, : int(tokens.argmax(dim=-1).max()) + 1])


def encode_trimmed(clip_model: nn.Module, tokens: Tensor) -> Tensor:
    """The same of tokens (n, length) of any length up to the context's, none of which is trimmed."""
    tower = text_tower(clip_model)
    ends = tokens.argmax(dim=-1)
    length = tokens.shape[1]
    dtype = _weight_dtype(tower.transformer)
    x = tower.token_embedding(tokens).to(dtype) + tower.positional_embedding[:length].to(dtype)
    mask = tower.attn_mask[:length, :length].to(dtype)
    if hasattr(tower.transformer, "batch_first"):
        x = tower.transformer(x, attn_mask=mask)
    else:
        x = tower.transformer(x.transpose(0, 1), attn_mask=mask).transpose(0, 1)
    return _project(tower, x[torch.arange(tokens.shape[0], device=tokens.device), ends])


def _project(tower: Any, x: Tensor) -> Tensor:
    """What the blocks give at the ends of prompts (n, width) -> embeddings (n, E)."""
    x = tower.ln_final(x)
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, nn.Linear) else x @ projection


def embedding_width(clip_model: nn.Module) -> int:
    """Width E of the joint embedding."""
    tower = text_tower(clip_model)
    projection = tower.text_projection
    if projection is None:
        return tower.ln_final.normalized_shape[0]
    return projection.out_features if isinstance(projection, nn.Linear) else projection.shape[-1]


def text_tower(clip_model: Any) -> Any:
    """The module that holds the text tower: open_clip's `CLIP` itself, or the `text` of a `CustomTextCLIP`."""
    return getattr(clip_model, "text", clip_model)


def text_weights(clip_model: nn.Module) -> dict[str, Tensor]:
    """Every tensor that a text embedding depends on, by name."""
    state = text_tower(clip_model).state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith(_NOT_TEXT)}


def text_parameters(clip_model: nn.Module) -> list[nn.Parameter]:
    """The parameters among `text_weights`."""
    named = text_tower(clip_model).named_parameters()
    return [parameter for name, parameter in named if not name.startswith(_NOT_TEXT)]


def _weight_dtype(transformer: nn.Module) -> torch.dtype:
    return next(parameter.dtype for parameter in transformer.parameters() if parameter.ndim == 2)
