"""LVIS average precision of a model's instances; `metrics/lvis_ap.py` has the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fcclip.evaluation.instance import InstanceSegEvaluator
from fcclip.evaluation.metrics.average_precision import mean_precision
from fcclip.evaluation.metrics.lvis_ap import DETECTIONS_PER_IMAGE, federated_precision, top_detections

FREQUENCIES = {"APr": "r", "APc": "c", "APf": "f"}  # rare, common, frequent


class LvisEvaluator(InstanceSegEvaluator):
    """LVIS AP of masks and boxes: AP, AP50, AP75, APs, APm, APl, APr, APc, APf and AP of each category.

    Args:
        dataset_name, export: as for `InstanceSegEvaluator`; `json_file` is in LVIS v1's format.

    Raises:
        ValueError: the annotations lack the fields that say what was annotated where.
    """

    def __init__(self, dataset_name: str, export: Path | None = None) -> None:
        super().__init__(dataset_name, export)
        image: dict[str, Any] = next(iter(self._coco.imgs.values()), {})
        category: dict[str, Any] = next(iter(self._coco.cats.values()), {})
        needed = {"neg_category_ids", "not_exhaustive_category_ids"} - image.keys() | {"frequency"} - category.keys()
        if needed:
            raise ValueError(
                f'the annotations of "{dataset_name}" have no {", ".join(sorted(needed))}; LVIS AP needs them: '
                'use LVIS v1\'s files, or evaluator_type "coco"'
            )

    def _average_precision(self, task: str) -> dict[str, float]:
        precision = federated_precision(
            self._coco, top_detections(self._detections, DETECTIONS_PER_IMAGE), task, set(self._image_ids)
        )
        frequency = np.array([category["frequency"] for category in self._coco.cats.values()])
        values = {
            "AP": mean_precision(precision[..., 0]),
            "AP50": mean_precision(precision[0, ..., 0]),
            "AP75": mean_precision(precision[5, ..., 0]),
        }
        values |= {key: mean_precision(precision[..., size + 1]) for size, key in enumerate(("APs", "APm", "APl"))}
        values |= {key: mean_precision(precision[:, :, frequency == f, 0]) for key, f in FREQUENCIES.items()}
        for column, category in enumerate(self._coco.cats):
            values[f"AP-{self._names[category]}"] = mean_precision(precision[:, :, column, 0])
        return values
