"""Keeping the worst images."""

from pathlib import Path

import numpy as np

from fcclip.evaluation.base import Comparison
from fcclip.evaluation.report.worst import LONGEST_SIDE, WorstImages


def comparison(value: int = 0, side: int = 4) -> Comparison:
    maps = [np.full((side, 2 * side), value + k, np.int32) for k in range(4)]
    return Comparison(*maps)


def test_keeps_the_lowest_scores(tmp_path: Path):
    worst = WorstImages(tmp_path, 3)
    for index, score in enumerate([0.5, 0.9, 0.1, None, 0.3, 0.7]):
        worst.offer(score, f"{index}.png", lambda index=index: comparison(index))
    kept = worst.all_processes()
    assert [(image.score, image.file_name) for image in kept] == [(0.1, "2.png"), (0.3, "4.png"), (0.5, "0.png")]
    assert kept[0].comparison.predicted_segments[0, 0] == 5
    assert len(list(tmp_path.iterdir())) == 3


def test_images_that_are_good_enough_are_not_even_compared(tmp_path: Path):
    worst = WorstImages(tmp_path, 1)
    worst.offer(0.2, "a", comparison)
    worst.offer(0.8, "b", lambda: 1 / 0)
    assert [image.file_name for image in worst.all_processes()] == ["a"]


def test_none_are_kept_if_none_are_wanted(tmp_path: Path):
    WorstImages(tmp_path, 0).offer(0.0, "a", lambda: 1 / 0)
    assert list(tmp_path.iterdir()) == []


def test_processes_and_interrupted_runs_share_a_folder(tmp_path: Path):
    WorstImages(tmp_path, 2, rank=0).offer(0.4, "a", comparison)
    again = WorstImages(tmp_path, 2, rank=0)
    again.offer(0.4, "a", comparison)  # repeated, because it was interrupted after this
    again.offer(0.2, "b", comparison)
    other = WorstImages(tmp_path, 2, rank=1)
    other.offer(0.3, "c", comparison)
    other.offer(0.2, "b", comparison)
    assert [image.file_name for image in other.all_processes()] == ["b", "c"]


def test_large_maps_are_thinned_out(tmp_path: Path):
    worst = WorstImages(tmp_path, 1)
    worst.offer(0.0, "a", lambda: comparison(side=LONGEST_SIDE))
    assert worst.all_processes()[0].comparison.true.shape == (LONGEST_SIDE // 2, LONGEST_SIDE)
