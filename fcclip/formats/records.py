"""A result as plain dictionaries, ready for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcclip.formats.result import Result


def result_to_dict(result: Result) -> dict[str, Any]:
    """Everything but the pixels, ready for JSON; see `Segmentation.to_dict`."""
    height, width = result.size
    content: dict[str, Any] = {"height": height, "width": width, "random_weights": result.random_weights}
    if result.panoptic is not None:
        content["segments"] = [{**vars(segment), "box": list(segment.box)} for segment in result.segments]
    if result.instances is not None:
        content["instances"] = instance_records(result)
    if result.semantic is not None:
        content["semantic"] = [
            {"name": result.name_of(category), "category_id": category, "area": area}
            for category, area in result.semantic_areas()
        ]
    return content


def instance_records(result: Result) -> list[dict[str, Any]]:
    """Name, class, score, area and box of every instance; empty where there are none."""
    instances = result.instances
    if instances is None:
        return []
    return [
        {"name": result.name_of(category), "category_id": category, "score": score, "area": area, "box": box}
        for category, score, area, box in zip(
            instances.category_ids.tolist(),
            instances.scores.tolist(),
            np.count_nonzero(instances.masks, axis=(1, 2)).tolist(),
            instances.boxes.tolist(),
            strict=True,
        )
    ]
