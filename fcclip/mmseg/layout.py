"""Which tensors a published checkpoint of ZegCLIP or Cascade-CLIP must hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_NORMS = ("weight", "bias")
_TRANSFORMER_BLOCK = (
    *("attn.in_proj_weight", "attn.in_proj_bias", "attn.out_proj.weight", "attn.out_proj.bias"),
    *(f"{part}.{name}" for part in ("ln_1", "ln_2", "mlp.c_fc", "mlp.c_proj") for name in _NORMS),
)
_DECODER_LAYER = (
    *("self_attn.in_proj_weight", "self_attn.in_proj_bias"),
    *(
        f"{part}.{name}"
        for part in ("self_attn.out_proj", "linear1", "linear2", "norm1", "norm2", "norm3")
        for name in _NORMS
    ),
    *(f"multihead_attn.{part}.{name}" for part in "qkv" for name in _NORMS),
    *(f"multihead_attn.proj.{name}" for name in _NORMS),
)
_ALWAYS = (
    *("backbone.class_embedding", "backbone.positional_embedding", "backbone.conv1.weight", "backbone.proj"),
    *(f"backbone.{part}.{name}" for part in ("ln_pre", "ln_post", "prompt_proj", "prompt_norm") for name in _NORMS),
    *("backbone.prompt_embeddings", "backbone.deep_prompt_embeddings"),
    "decode_head.loss_decode.criterion.empty_weight",
    *("text_encoder.token_embedding.weight", "text_encoder.positional_embedding", "text_encoder.text_projection"),
    *(f"text_encoder.ln_final.{name}" for name in _NORMS),
)
_CASCADE = ("decode_head.weights_s1", "decode_head.weights_s2", "backbone.proj_layers")


def expected_keys(keys: Iterable[str]) -> set[str]:
    """Everything that a published checkpoint holds which has the blocks, layers and decoders named in `keys`."""
    keys = set(keys)
    expected = set(_ALWAYS)
    for tower in ("backbone", "text_encoder"):
        for block in _indices(keys, rf"{tower}\.transformer\.resblocks\.(\d+)\."):
            expected.update(f"{tower}.transformer.resblocks.{block}.{name}" for name in _TRANSFORMER_BLOCK)
    decoders = _indices(keys, r"decode_head\.(?:cascade_decoders|q_projs)\.(\d+)\.")
    if not decoders:
        expected.update(f"decode_head.q_proj.{name}" for name in _NORMS)
        expected.update(_decoder_keys("decode_head.decoder_1", keys))
        return expected
    expected.update(_CASCADE)
    for level in _indices(keys, r"backbone\.ln_layers\.(\d+)\."):
        expected.update(f"backbone.ln_layers.{level}.{name}" for name in _NORMS)
    for decoder in decoders:
        expected.update(f"decode_head.q_projs.{decoder}.{name}" for name in _NORMS)
        expected.update(_decoder_keys(f"decode_head.cascade_decoders.{decoder}", keys))
    return expected


def _decoder_keys(prefix: str, keys: set[str]) -> Iterator[str]:
    for layer in _indices(keys, rf"{re.escape(prefix)}\.layers\.(\d+)\."):
        yield from (f"{prefix}.layers.{layer}.{name}" for name in _DECODER_LAYER)


def _indices(keys: set[str], pattern: str) -> range:
    """0 up to the largest number that the pattern finds; at least one, unless nothing matches."""
    found = [int(match.group(1)) for key in keys if (match := re.match(pattern, key))]
    return range(max(found, default=-1) + 1)
