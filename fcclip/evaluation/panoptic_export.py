"""Predictions in the COCO panoptic format, and the reference scorer for those who have it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcclip.evaluation.metrics.panoptic_quality import Quality
from fcclip.files.panoptic import PanopticJson, measure_segments, write_panoptic_json, write_panoptic_png


@dataclass(frozen=True)
class PanopticExport:
    """Writes `panoptic_predictions/*.png` and `panoptic_predictions.json` into a folder.

    Attributes:
        folder: where to.
        with_panopticapi: let the package panopticapi compute the averages from these files.
    """

    folder: Path
    with_panopticapi: bool = False

    def __post_init__(self) -> None:
        if self.with_panopticapi:
            _panopticapi_score()  # say that it is missing before hours of inference, not after

    @property
    def json_path(self) -> Path:
        return self.folder / "panoptic_predictions.json"

    @property
    def png_folder(self) -> Path:
        return self.folder / "panoptic_predictions"

    def write_image(
        self, truth: Mapping[str, Any], ids: np.ndarray, segments: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Write the PNG of one image; returns its annotation for `write_json`."""
        file_name = Path(truth["file_name"]).with_suffix(".png").name
        write_panoptic_png(self.png_folder / file_name, ids)
        return {
            "image_id": truth["image_id"],
            "file_name": file_name,
            "segments_info": measure_segments(ids, segments),
        }

    def write_json(self, annotations: Sequence[Mapping[str, Any]], truth: PanopticJson) -> None:
        """Write the JSON file, with the images and categories of the ground truth."""
        write_panoptic_json(self.json_path, annotations, truth.categories.values(), truth.images.values())

    def rescore(self, truth_json: Path, truth_folder: Path) -> dict[str, Quality]:
        """Averages over all, thing and stuff classes by panopticapi; {} unless asked for."""
        if not self.with_panopticapi:
            return {}
        with contextlib.redirect_stdout(io.StringIO()):
            scores = _panopticapi_score()(
                str(truth_json), str(self.json_path), gt_folder=str(truth_folder), pred_folder=str(self.png_folder)
            )
        return {
            suffix: Quality(scores[group]["pq"], scores[group]["sq"], scores[group]["rq"], scores[group]["n"])
            for suffix, group in (("", "All"), ("_th", "Things"), ("_st", "Stuff"))
        }


def _panopticapi_score() -> Any:
    try:
        from panopticapi.evaluation import pq_compute
    except ImportError as error:
        raise RuntimeError(
            "TEST.PANOPTIC_SCORER is panopticapi, which is not installed; install it as INSTALL.md says, "
            "or set TEST.PANOPTIC_SCORER memory, which gives the same numbers"
        ) from error
    return pq_compute
