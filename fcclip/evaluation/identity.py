"""What an evaluation is of: a digest that changes with anything that its numbers depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from fcclip.evaluation.base import ImageEvaluator
from fcclip.files.fingerprint import fingerprint_tensors


def digest_of(*parts: Any) -> str:
    """Hexadecimal digest of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def evaluation_digest(
    model: Any,
    cfg: CfgNode,
    dataset_name: str,
    records: Sequence[Mapping[str, Any]],
    evaluators: Sequence[ImageEvaluator],
) -> str:
    """Digest of all that the statistics of an image depend on: model, settings, images and ground truth.

    Of images and ground-truth files the size and the time of the last change count, so that a corrected annotation
    makes what was measured before worthless.
    """
    settings = cfg.clone()
    settings.defrost()
    settings.MODEL.WEIGHTS = settings.MODEL.DEVICE = ""  # the weights themselves count, not their path
    truth = chain.from_iterable(evaluator.truth_files(records) for evaluator in evaluators)
    return digest_of(
        dataset_name,
        file_stamps(chain((record["file_name"] for record in records), truth)),
        [evaluator.name for evaluator in evaluators],
        fingerprint_tensors(model.state_dict()) if isinstance(model, nn.Module) else None,
        type(model).__name__,
        repr(getattr(model, "vocabulary", None)),
        [settings.MODEL.dump(), settings.INPUT.dump(), settings.TEST.dump()],
    )


def file_stamps(paths: Iterable[str | Path]) -> dict[str, list[int]]:
    """Path -> [size in bytes, time of the last change in nanoseconds]; [] of a file that is not there."""
    stamps: dict[str, list[int]] = {}
    for path in map(str, paths):
        if path in stamps:
            continue
        try:
            status = Path(path).stat()
        except OSError:
            stamps[path] = []
            continue
        stamps[path] = [status.st_size, status.st_mtime_ns]
    return stamps
