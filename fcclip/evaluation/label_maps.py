"""The label map that a semantic prediction amounts to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fcclip.evaluation.base import NAN_ADVICE
from fcclip.files.images import LabelMapError


def to_label_map(prediction: Any, classes: int) -> np.ndarray:
    """The label map of a semantic prediction.

    Args:
        prediction: scores (C, h, w), whose arg-max is taken where they lie, or labels (h, w); tensor or array.
        classes: C.

    Raises:
        LabelMapError: neither shape, or a score is NaN or infinite.
    """
    tensor = torch.as_tensor(prediction)
    if tensor.ndim == 3:
        if tensor.shape[0] != classes:
            raise LabelMapError(
                f"the prediction has scores of {tensor.shape[0]} classes, the dataset has {classes}; "
                "was the model given this dataset's vocabulary?"
            )
        if not torch.isfinite(tensor).all():
            raise LabelMapError(f"the semantic scores of the model are NaN or infinite; {NAN_ADVICE}")
        tensor = tensor.argmax(dim=0)
    if tensor.ndim != 2 or tensor.is_floating_point():
        raise LabelMapError(
            f"expected scores (C, h, w) or integer labels (h, w), got {tensor.dtype} of shape {tuple(tensor.shape)}"
        )
    return tensor.cpu().numpy()
