"""Video consistency against a direct computation from the definition."""

import math

import numpy as np
import pytest

from fcclip.evaluation.metrics.vspw import consistent_shares, video_consistency


def direct(frames: list[tuple[np.ndarray, np.ndarray]], length: int) -> list[float]:
    """One share per window but the last, straight from the definition."""
    true, found = (np.stack(maps) for maps in zip(*frames, strict=True))
    shares = []
    for start in range(len(frames) - length):
        window = slice(start, start + length)
        still, still_found = ((maps[window] == maps[start]).all(axis=0) for maps in (true, found))
        shares.append((still & still_found).sum() / still.sum())
    return shares


def random_video(seed: int, frames: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    true, found = rng.integers(0, 3, (2, 6, 7))
    video = []
    for _ in range(frames):
        for labels in (true, found):
            labels[rng.random(labels.shape) < 0.1] = rng.integers(0, 3)
        video.append((true.copy(), found.copy()))
    return video


def test_consistency_equals_the_definition_and_skips_short_videos():
    videos = [random_video(0, 9), random_video(1, 5), random_video(2, 3)]
    values = video_consistency([consistent_shares(iter(video), (3, 5)) for video in videos])
    threes = direct(videos[0], 3) + direct(videos[1], 3)
    fives = direct(videos[0], 5)
    assert values["VC3"] == pytest.approx(100 * np.mean(threes))
    assert values["VC5"] == pytest.approx(100 * np.mean(fives))
    assert values["VC5_script"] == pytest.approx(100 * np.mean(threes + fives))


def test_without_a_window_there_is_no_value():
    values = video_consistency([consistent_shares(random_video(0, 8))])
    assert math.isnan(values["VC8"])  # its only window is the last one
