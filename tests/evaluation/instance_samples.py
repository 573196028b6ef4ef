"""Instance ground truth and detections, made from random rectangles or from the published panoptic sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as rle_codec
import torch
from detectron2.structures import BitMasks, Instances

from tests.evaluation.panoptic_samples import PanopticSet


def rle(mask: np.ndarray) -> dict[str, Any]:
    encoded = rle_codec.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {**encoded, "counts": encoded["counts"].decode("ascii")}


def coco_annotations(truth: PanopticSet) -> dict[str, Any]:
    """The things of a panoptic set in COCO's instance format."""
    things = [category for category in truth.categories if category["isthing"]]
    ids = {category["id"] for category in things}
    annotations: list[dict[str, Any]] = []
    for picture in truth.pictures:
        for segment in picture.segments:
            if segment["category_id"] not in ids:
                continue
            mask = picture.ids == segment["id"]
            encoded = rle(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture.image_id,
                    "category_id": segment["category_id"],
                    "iscrowd": segment["iscrowd"],
                    "area": int(mask.sum()),
                    "bbox": rle_codec.toBbox(encoded).tolist(),
                    "segmentation": encoded,
                }
            )
    images = [{"id": p.image_id, "height": p.ids.shape[0], "width": p.ids.shape[1]} for p in truth.pictures]
    return {"images": images, "categories": things, "annotations": annotations}


def write_json(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def predictions(truth: PanopticSet, contiguous: dict[int, int], seed: int) -> list[Instances]:
    """Detections per picture: things moved a little, some with a wrong class, some twice, some invented."""
    generator = np.random.default_rng(seed)
    outputs = []
    for picture in truth.pictures:
        masks, classes = [], []
        for segment in picture.segments:
            if segment["category_id"] not in contiguous:
                continue
            for _ in range(generator.integers(0, 3)):
                offset = tuple(generator.integers(-2, 3, 2).tolist())
                masks.append(np.roll(picture.ids == segment["id"], offset, (0, 1)))
                wrong = generator.random() < 0.2
                classes.append(
                    generator.choice(list(contiguous.values())) if wrong else contiguous[segment["category_id"]]
                )
        for _ in range(3):
            mask = np.zeros(picture.ids.shape, bool)
            top, left = generator.integers(0, 20, 2)
            mask[top : top + 9, left : left + 7] = True
            masks.append(mask)
            classes.append(generator.choice(list(contiguous.values())))
        stacked = torch.from_numpy(np.stack(masks))
        outputs.append(
            Instances(
                picture.ids.shape,
                pred_masks=stacked.float(),
                pred_boxes=BitMasks(stacked).get_bounding_boxes(),
                scores=torch.from_numpy(generator.random(len(masks))).float(),
                pred_classes=torch.tensor(classes),
            )
        )
    return outputs
