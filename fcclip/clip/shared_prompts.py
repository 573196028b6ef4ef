"""CLIP's text tower on prompts that begin alike: what stands in the same beginning is computed once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import LayerScale, ResidualAttentionBlock
from torch import Tensor, nn

from fcclip.clip.prompt_tree import PromptTree


def shares_prompts(tower: Any) -> bool:
    """Whether a text tower is of the usual kind, which `encode_tree` computes: causal, its blocks open_clip's own."""
    mask = getattr(tower, "attn_mask", None)
    blocks = getattr(tower.transformer, "resblocks", None)
    if mask is None or blocks is None or getattr(tower, "cls_emb", None) is not None:
        return False
    above = torch.ones_like(mask, dtype=torch.bool).triu(1)
    causal = bool((mask[above] == -torch.inf).all() and (mask[~above] == 0).all())
    return causal and all(_is_usual(block) for block in blocks)


def _is_usual(block: nn.Module) -> bool:
    if type(block) is not ResidualAttentionBlock or hasattr(block, "ln_1_kv"):
        return False
    attention = block.attn
    scales = (type(scale) in (nn.Identity, LayerScale) for scale in (block.ls_1, block.ls_2))
    return (
        type(attention) is nn.MultiheadAttention
        and attention.in_proj_weight is not None
        and attention.bias_k is None
        and not attention.add_zero_attn
        and (attention.dropout == 0 or not attention.training)
        and all(scales)
    )


def encode_tree(tower: Any, tree: PromptTree) -> Tensor:
    """The output of the blocks of a text tower at the ends of prompts.

    Every layer but the attention sees each node once. The attention sees whole prompts, made from the nodes, of which
    what is the same in several is computed several times: it is a small part. The last block is computed at the ends
    alone, the only places that are read.

    Args:
        tower: one that `shares_prompts`.
        tree: of the prompts, on the tower's device.

    Returns:
        (n, width), before the last normalisation.
    """
    blocks = tower.transformer.resblocks
    dtype = blocks[0].attn.in_proj_weight.dtype
    x = tower.token_embedding(tree.tokens).to(dtype) + tower.positional_embedding[tree.positions].to(dtype)
    for block in blocks[:-1]:
        x = _finish(block, x, _attend(block, x, tree))
    return _finish(blocks[-1], x[tree.ends], _attend_at_ends(blocks[-1], x, tree))


def _finish(block: Any, x: Tensor, attended: Tensor) -> Tensor:
    """What a block makes of its input x and its heads' answers, both (N, width)."""
    x = x + block.ls_1(block.attn.out_proj(attended))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _attend(block: Any, x: Tensor, tree: PromptTree) -> Tensor:
    """Nodes (N, width) -> (N, width): each asks itself and those before it."""
    qkv = F.linear(block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias)
    query, key, value = _heads(_rows(qkv, tree.nodes), 3, block.attn.num_heads)
    attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return attended.transpose(1, 2).flatten(0, 1).flatten(1).index_select(0, tree.places)


def _attend_at_ends(block: Any, x: Tensor, tree: PromptTree) -> Tensor:
    """Nodes (N, width) -> (n, width): only the end of each prompt asks."""
    weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
    width = x.shape[-1]
    x = block.ln_1(x)
    query = F.linear(x[tree.ends], weight[:width], None if bias is None else bias[:width])
    key_value = F.linear(x, weight[width:], None if bias is None else bias[width:])
    (query,) = _heads(query[:, None], 1, block.attn.num_heads)
    key, value = _heads(_rows(key_value, tree.nodes), 2, block.attn.num_heads)
    own = torch.ones_like(tree.nodes, dtype=torch.bool)  # places after the end repeat the end's node
    own[:, 1:] = tree.nodes[:, 1:] != tree.nodes[:, :-1]
    attended = F.scaled_dot_product_attention(query, key, value, own[:, None, None])
    return attended.squeeze(2).flatten(1)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """`x[index]` of (N, width), by whole rows: on a CPU several times as fast."""
    return x.index_select(0, index.flatten()).unflatten(0, index.shape)


def _heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(n, L, parts * width) -> one (n, heads, L, width / heads) per part."""
    return x.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
