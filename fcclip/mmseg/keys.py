"""Names of tensors: in the published checkpoints of ZegCLIP and Cascade-CLIP, and here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fcclip.files.checkpoints import CLIP_PREFIX

LOGIT_SCALE = f"{CLIP_PREFIX}logit_scale"
# The published checkpoints leave it out, because nothing uses it: CLIP's training ended at the cap of 100.
CLIP_LOGIT_SCALE = math.log(100)


@dataclass(frozen=True)
class Rename:
    """A rule between a published and our name, both ways; `{n}` is a number, `{rest}` whatever follows."""

    published: str
    ours: str

    def forward(self, key: str) -> str | None:
        """Our name of a published key, or None if the rule is about others."""
        return _rewrite(key, self.published, self.ours)

    def backward(self, key: str) -> str | None:
        """The published name of our key, or None if the rule is about others."""
        return _rewrite(key, self.ours, self.published)


# The first rule that fits counts.
COMMON = (
    Rename("backbone.prompt_embeddings", "backbone.prompts.first"),
    Rename("backbone.deep_prompt_embeddings", "backbone.prompts.deep"),
    Rename("backbone.prompt_proj.{rest}", "backbone.prompts.project.{rest}"),
    Rename("backbone.prompt_norm.{rest}", "backbone.prompts.norm.{rest}"),
    Rename("decode_head.loss_decode.criterion.empty_weight", "criterion.empty_weight"),
    Rename("text_encoder.{rest}", f"{CLIP_PREFIX}{{rest}}"),
)
ZEGCLIP = (
    Rename("decode_head.q_proj.{rest}", "descriptor.project.{rest}"),
    Rename("decode_head.decoder_1.{rest}", "decoder.{rest}"),
)
CASCADE_CLIP = (
    Rename("decode_head.weights_s1", "aggregations.0.weights"),
    Rename("decode_head.weights_s2", "aggregations.1.weights"),
    Rename("decode_head.q_projs.{n}.{rest}", "descriptors.{n}.project.{rest}"),
    Rename("decode_head.cascade_decoders.{n}.{rest}", "decoders.{n}.{rest}"),
    Rename("backbone.ln_layers.{n}.{rest}", "backbone.level_norms.{n}.{rest}"),
    Rename("backbone.proj_layers", "backbone.level_projections"),
)
IMAGE_TOWER = Rename("backbone.{rest}", f"{CLIP_PREFIX}visual.{{rest}}")
TO_OURS = (*COMMON, *ZEGCLIP, *CASCADE_CLIP, IMAGE_TOWER)
TO_PUBLISHED = (*COMMON[:-1], *ZEGCLIP, *CASCADE_CLIP, IMAGE_TOWER, COMMON[-1])


def is_published(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of a published checkpoint."""
    return "backbone.prompt_embeddings" in state and any(key.startswith("decode_head.") for key in state)


def is_ours(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of a prompt-tuned ZegCLIP or CascadeCLIP of this package."""
    return "backbone.prompts.first" in state


def to_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a published state dict.

    Raises:
        ValueError: it has a tensor that belongs to neither system.
    """
    renamed = {_apply([rule.forward(key) for rule in TO_OURS], key): tensor for key, tensor in state.items()}
    return {**renamed, LOGIT_SCALE: torch.tensor(CLIP_LOGIT_SCALE)}


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a state dict of ours, which must hold the CLIP too; the inverse of `to_ours`.

    Raises:
        ValueError: it has a tensor that the published systems have no place for.
    """
    return {
        _apply([rule.backward(key) for rule in TO_PUBLISHED], key): tensor
        for key, tensor in state.items()
        if key != LOGIT_SCALE
    }


def _apply(candidates: list[str | None], key: str) -> str:
    found = next((name for name in candidates if name is not None), None)
    if found is None:
        raise ValueError(f'tensor "{key}" belongs to neither ZegCLIP nor Cascade-CLIP')
    return found


def _rewrite(key: str, source: str, target: str) -> str | None:
    pattern = re.escape(source).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{rest\}", "(?P<rest>.+)")
    match = re.fullmatch(pattern, key)
    return None if match is None else target.format(**match.groupdict())
