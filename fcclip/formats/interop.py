"""Results as the objects of other libraries: supervision's detections, and the structures of Hugging Face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from fcclip.drawing.style import View
from fcclip.formats.coco_instances import objects_view
from fcclip.formats.masks import named_masks
from fcclip.formats.result import Result

if TYPE_CHECKING:
    import supervision


def to_supervision(result: Result, view: View | None = None) -> supervision.Detections:
    """See `Segmentation.to_supervision`."""
    try:
        from supervision import Detections
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "to_supervision needs the package: pip install supervision", name=error.name
        ) from None
    masks = list(named_masks(result, view or objects_view(result)))
    if not masks:
        return Detections.empty()
    scored = all(mask.score is not None for mask in masks)
    return Detections(
        xyxy=np.array([mask.box for mask in masks], np.float32),
        mask=np.stack([mask.full(result.size) for mask in masks]),
        confidence=np.array([mask.score for mask in masks], np.float32) if scored else None,
        class_id=np.array([mask.category_id for mask in masks]),
        data={"class_name": np.array([mask.name for mask in masks])},
    )


def to_hf(result: Result) -> dict[str, Any]:
    """See `Segmentation.to_hf`."""
    import torch  # of those that leave through here only this form needs it

    if result.panoptic is None:
        raise ValueError("there is no panoptic result; set MODEL.MASK_FORMER.TEST.PANOPTIC_ON to True")
    return {
        "segmentation": torch.from_numpy(result.panoptic.astype(np.int32)),
        "segments_info": [
            {
                "id": segment.id,
                "label_id": segment.category_id,
                "was_fused": not segment.is_thing,
                "score": round(segment.score, 6),
            }
            for segment in result.segments
        ],
    }


def to_hf_pipeline(result: Result, view: View | None = None) -> list[dict[str, Any]]:
    """See `Segmentation.to_hf_pipeline`."""
    return [
        {
            "score": mask.score,
            "label": mask.name,
            "mask": Image.fromarray(mask.full(result.size).astype(np.uint8) * np.uint8(255)),
        }
        for mask in named_masks(result, view)
    ]
