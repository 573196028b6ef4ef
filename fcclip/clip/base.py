"""What every CLIP backbone has: loaded weights, a text tower, and a record of where the weights came from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import Backbone
from torch import Tensor

from fcclip.clip.loading import load_clip
from fcclip.clip.paged_weights import PagedWeights
from fcclip.clip.text_tower import embedding_width, encode_text, text_parameters, text_tower, text_weights
from fcclip.files.cache import TextCache
from fcclip.files.checkpoints import TEXT_TOWER_PREFIXES, holds_prefix
from fcclip.files.fingerprint import fingerprint_tensors
from fcclip.files.folders import cache_directory
from fcclip.files.schemes import locate_weights
from fcclip.text import TEMPLATES, NameEmbedder

logger = logging.getLogger(__name__)


class ClipBackbone(Backbone):
    """A CLIP of open_clip, frozen: its text tower embeds names; subclasses read its image tower.

    The CLIP is MODEL.FC_CLIP.CLIP_MODEL_NAME with CLIP_PRETRAINED_WEIGHTS, unless MODEL.WEIGHTS holds all of one.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        node = cfg.MODEL.FC_CLIP
        weights = cfg.MODEL.WEIGHTS
        in_checkpoint = bool(weights) and holds_prefix(locate_weights(weights), TEXT_TOWER_PREFIXES)
        loaded = load_clip(node.CLIP_MODEL_NAME, "" if in_checkpoint else node.CLIP_PRETRAINED_WEIGHTS)
        self.model_name = node.CLIP_MODEL_NAME
        self.clip_model: Any = loaded.model.requires_grad_(False).eval()
        self.tokenizer = loaded.tokenizer
        self.weights_source = loaded.source  # None: random
        self._releases_text_tower = node.RELEASE_TEXT_TOWER
        self._paged_text_tower = PagedWeights()
        self._text_fingerprints: dict[tuple[str, ...], str] = {}
        self.register_load_state_dict_post_hook(_forget_fingerprint)
        self.dim_latent = embedding_width(loaded.model)

    def train(self, mode: bool = True) -> ClipBackbone:
        """What surrounds CLIP follows the mode; CLIP stays in eval mode: nothing in it is dropped."""
        super().train(mode)
        self.clip_model.eval()
        return self

    @property
    def device(self) -> torch.device:
        return self.clip_model.logit_scale.device

    def tokenize_text(self, text: str | Sequence[str]) -> Tensor:
        """Prompts -> (n, context length) int64 on the CPU."""
        return self.tokenizer([text] if isinstance(text, str) else list(text))

    @torch.no_grad()
    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens (n, context length) -> (n, E), not normalised; in the weights' precision even under autocast."""
        self._move_text_tower(self.device)
        with torch.autocast(self.device.type, enabled=False):
            return encode_text(self.clip_model, tokens.to(self.device))

    def knows_tokens(self, tokens: Tensor) -> Tensor:
        """Which tokens have an embedding that was trained: (...) bool; a small model has none of most tokens."""
        table = text_tower(self.clip_model).token_embedding.weight
        return (table[tokens.to(table.device)] != 0).any(dim=-1).cpu()

    def name_embedder(
        self, use_cache: bool, templates: Sequence[str] = TEMPLATES, given: Mapping[str, Tensor] | None = None
    ) -> NameEmbedder:
        """Embeds class names with this CLIP.

        Args:
            use_cache: keep the embeddings on disk, unless the weights are random.
            templates: the prompts.
            given: rows of names that are not to be encoded.
        """

        open_cache = partial(self._open_cache, tuple(templates)) if use_cache else None
        return NameEmbedder(
            self.tokenize_text,
            self.encode_text,
            open_cache,
            templates,
            given,
            release=self.release_text_tower,
            knows=self.knows_tokens,
        )

    def release_text_tower(self) -> None:
        """With MODEL.FC_CLIP.RELEASE_TEXT_TOWER, free the memory of the text tower until it is used again.

        From a GPU it goes to the host; on the host it goes to a file in the cache folder (`PagedWeights`).
        """
        if not self._releases_text_tower:
            return
        if self.device.type == "cuda":
            self._move_text_tower(torch.device("cpu"))
        elif self.device.type == "cpu":
            try:
                self._paged_text_tower.hold(text_parameters(self.clip_model), cache_directory())
            except OSError as error:
                self._releases_text_tower = False
                logger.warning("the text tower stays in memory: %s; set FCCLIP_CACHE to a folder with room", error)

    @torch.inference_mode(False)
    def _move_text_tower(self, device: torch.device) -> None:
        for parameter in text_parameters(self.clip_model):
            if parameter.device != device:
                parameter.data = parameter.data.to(device)

    def _open_cache(self, templates: tuple[str, ...]) -> TextCache | None:
        if self.weights_source is None:
            return None
        if templates not in self._text_fingerprints:
            activations = {type(module).__name__ for module in text_tower(self.clip_model).transformer.modules()}
            description = (Path(self.model_name).stem, *sorted(activations), *templates)
            self._text_fingerprints[templates] = fingerprint_tensors(text_weights(self.clip_model), description)
        return TextCache(self._text_fingerprints[templates], width=self.dim_latent)

    def get_text_classifier(self, text_list: Sequence[str], device: torch.device | str) -> Tensor:
        """Prompts -> (n, E) on `device`, not normalised."""
        return self.encode_text(self.tokenize_text(text_list)).to(device)


def _forget_fingerprint(backbone: ClipBackbone, _: Any) -> None:
    backbone._text_fingerprints.clear()  # noqa: SLF001 - a hook of the class above
