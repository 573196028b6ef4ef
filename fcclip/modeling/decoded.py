"""What a mask generator says of images before it is asked for any class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from torch import Tensor

BY_QUERY = ("mask_logits", "mask_embeddings", "query_embeddings", "clip_embeddings", "on_features")


@dataclass(frozen=True)
class QueryMasks:
    """The masks of the queries, and two vectors of each.

    Attributes:
        logits: (B, Q, H/4, W/4); a pixel belongs to a mask where its logit is positive.
        embeddings: (B, Q, E), what the trained classifier compares with class names.
        queries: (B, Q, D), the queries themselves after the decoder's last norm, by which a video is followed.
    """

    logits: Tensor
    embeddings: Tensor
    queries: Tensor


@dataclass(frozen=True)
class Decoded:
    """All that is known of images before a class is named; any number of vocabularies may be asked of it.

    Attributes:
        features: (B, C, H/32, W/32) dense CLIP features.
        mask_logits, mask_embeddings, query_embeddings: as in `QueryMasks`.
        clip_embeddings: (B, Q, E), what CLIP sees in each mask, not normalised.
        on_features: (B, Q) bool, whether a mask has a positive pixel at the resolution of `features`; without one
            CLIP saw nothing of it.
        places: (B, E, H/32, W/32), CLIP's embedding of every place, where the system has a use for it.
    """

    features: Tensor
    mask_logits: Tensor
    mask_embeddings: Tensor
    query_embeddings: Tensor
    clip_embeddings: Tensor
    on_features: Tensor
    places: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Decoded:
        """The same with every tensor changed."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if value is not None})

    def of_queries(self, queries: Sequence[int]) -> Decoded:
        """The same of some queries."""
        return replace(self, **{name: getattr(self, name)[:, queries] for name in BY_QUERY})

    def image(self, index: int) -> Decoded:
        """One image of the batch, as a batch of one."""
        return self.map(lambda tensor: tensor[index : index + 1])
