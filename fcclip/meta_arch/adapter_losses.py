"""A training step of a mask adapter on a model whose other parts stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fcclip.modeling.adapter_training import AdapterTraining
from fcclip.modeling.classification import classify
from fcclip.text import TextClassifier

if TYPE_CHECKING:
    from fcclip.meta_arch.fcclip import FCCLIP


def adapter_losses(
    model: FCCLIP,
    training: AdapterTraining,
    images: Tensor,
    targets: Sequence[Mapping[str, Tensor]],
    names: TextClassifier,
) -> dict[str, Tensor]:
    """The weighted losses of the mask adapter of a model.

    Args:
        model: has the adapter.
        training: what is drawn, and the losses.
        images: (B, 3, H, W), normalised and padded.
        targets: per image {"labels": (n,) int64, "masks": (n, H, W)}.
        names: of the classes and, last, "none of these".

    Returns:
        See `AdapterLosses`.
    """
    features = model.backbone.training_features(images)
    dense = features["clip_vis_dense"].float()
    with torch.no_grad():
        predicted = model.sem_seg_head.decode(features).logits if training.pairs is not None else None
        places: Any = model.embed_places(dense)
    text = model.text_of_images(names, places)
    rows_of_image = text.embeddings.expand(len(images), -1, -1)

    def embed(image: int, masks: Tensor) -> Tensor:
        return model.mask_adapter.embed(dense[image], places[image], masks, model.backbone.embed_pooled)

    def class_logits(image: int, embeddings: Tensor) -> Tensor:
        with torch.autocast(embeddings.device.type, enabled=False):
            rows = TextClassifier(rows_of_image[image].float(), text.rows_of_class)
            return classify(embeddings.float()[None], rows, model.backbone.clip_model.logit_scale)[0]

    return training.losses(embed, class_logits, *training.draw(predicted, targets))
