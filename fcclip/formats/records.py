"""A result as plain dictionaries, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from fcclip.files.rle import encode_mask
from fcclip.formats.result import Result, Segment


def result_to_dict(result: Result, masks: bool = False, scores: bool = False) -> dict[str, Any]:
    """Everything but the pixels, ready for JSON; see `Segmentation.to_dict`."""
    height, width = result.size
    content: dict[str, Any] = {"height": height, "width": width, "random_weights": result.random_weights}
    if result.panoptic is not None:
        content["segments"] = [_segment_record(segment, masks, scores) for segment in result.segments]
    if result.instances is not None:
        content["instances"] = instance_records(result, masks)
    if result.semantic is not None:
        content["semantic"] = [
            {"name": result.name_of(category), "category_id": category, "area": area}
            | ({"mask": encode_mask(result.semantic == category)} if masks else {})
            for category, area in result.semantic_areas()
        ]
    return content


def instance_records(result: Result, masks: bool = False) -> list[dict[str, Any]]:
    """Name, class, score, area and box of every instance, and its mask if asked for; empty where there are none."""
    instances = result.instances
    if instances is None:
        return []
    records = [
        {"name": result.name_of(category), "category_id": category, "score": score, "area": area, "box": box}
        for category, score, area, box in zip(
            instances.category_ids.tolist(),
            instances.scores.tolist(),
            np.count_nonzero(instances.masks, axis=(1, 2)).tolist(),
            instances.boxes.tolist(),
            strict=True,
        )
    ]
    if not masks:
        return records
    return [{**record, "mask": encode_mask(mask)} for record, mask in zip(records, instances.masks, strict=True)]


def _segment_record(segment: Segment, masks: bool, scores: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "id": segment.id,
        "name": segment.name,
        "category_id": segment.category_id,
        "is_thing": segment.is_thing,
        "score": segment.score,
        "area": segment.area,
        "box": list(segment.box),
    }
    if segment.track is not None:
        record |= {"track": segment.track, "rank": segment.rank, "hits": segment.hits}
    if masks:
        record["mask"] = encode_mask(segment.mask)
    if scores:
        record["scores"] = [asdict(score) for score in segment.scores]
    return record
