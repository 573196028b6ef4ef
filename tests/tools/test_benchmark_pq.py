"""The benchmark compares two ways that count the same; how long they take is not tested."""

from pathlib import Path

import numpy as np
import pytest

from fcclip.evaluation.metrics.panoptic_quality import count_image
from fcclip.files.panoptic import read_panoptic_json, read_panoptic_png
from tests.evaluation.panoptic_samples import synthetic
from tools.benchmark_pq import count_by_files, measure, require_equal


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_count_the_same(seed: int, tmp_path: Path):
    truth = read_panoptic_json(synthetic(seed).write(tmp_path / "truth"))
    for record in truth.annotations.values():
        path, segments = tmp_path / "truth" / record["file_name"], record["segments_info"]
        prediction = np.roll(read_panoptic_png(path), (1, 1), (0, 1))
        counts = count_image(read_panoptic_png(path), segments, prediction, segments, truth.categories)
        require_equal(counts, count_by_files(path, prediction, segments, tmp_path), truth)
        with pytest.raises(RuntimeError, match="the two ways disagree"):
            require_equal(counts, {"category": [10], "iou": [0.0], "tp": [0], "fp": [9], "fn": [0]}, truth)


def test_measures_every_image(tmp_path: Path):
    truth = read_panoptic_json(synthetic(0).write(tmp_path / "truth"))
    assert min(measure(truth, list(truth.annotations.values()), tmp_path / "truth", repeat=1)) > 0
