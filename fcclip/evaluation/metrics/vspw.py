"""VSPW's measures: mIoU, and video consistency (VC), the share of unchanging pixels with an unchanging prediction.

VC asks whether a prediction flickers, not whether it is right. VC of n frames is the mean over every n consecutive
frames (but the last such window, which the published script leaves out) of: of the pixels whose true label is the same
in all n frames, void included, the share whose predicted label is so too. Videos of n frames or fewer are left out.

Source: Miao et al., "VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild", CVPR 2021, section 4.1; windows
as in the published script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fcclip.evaluation.metrics.histogram import count_pairs
from fcclip.evaluation.metrics.semantic import semantic_metrics

WINDOWS = (8, 16)


class VideoConsistency:
    """Adds up the consistency of videos, frame by frame.

    Memory: the last two label maps and, per window, 2 bytes per pixel.

    Args:
        windows: lengths in frames.
    """

    def __init__(self, windows: Sequence[int] = WINDOWS) -> None:
        self._shares: dict[int, list[float]] = {length: [] for length in windows}

    def add_video(self, frames: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Count one video.

        Args:
            frames: (true, predicted) label maps (H, W) of its frames, all of one size.
        """
        runs: tuple[np.ndarray, np.ndarray] | None = None
        last: tuple[np.ndarray, np.ndarray] | None = None
        found: dict[int, list[float]] = {length: [] for length in self._shares}
        for frame in frames:
            if last is None or runs is None:
                runs = (np.ones(frame[0].shape, np.uint8), np.ones(frame[1].shape, np.uint8))
            else:
                runs = (_longer(runs[0], frame[0] == last[0]), _longer(runs[1], frame[1] == last[1]))
            last = frame
            for length, shares in found.items():
                shares.append(_share(runs[0] >= length, runs[1] >= length))
        for length, shares in found.items():
            self._shares[length] += shares[length - 1 : -1]

    def values(self) -> dict[str, float]:
        """ "VC8", "VC16": percent, NaN without a window; "VC16_script": as the published script prints it.

        The script does not clear its list between the two, so that its second value averages over the windows of both.
        """
        result = {f"VC{length}": _percent(shares) for length, shares in self._shares.items()}
        lengths = sorted(self._shares)
        for position, length in enumerate(lengths[1:], start=2):
            shares = [share for shorter in lengths[:position] for share in self._shares[shorter]]
            result[f"VC{length}_script"] = _percent(shares)
        return result


class SemanticVideoQuality:
    """mIoU and VC of a set of videos.

    Args:
        classes: their number; labels lie in [0, classes). Any other is void in the ground truth and "no class", which
            is always wrong, in a prediction.
        windows: lengths in frames.
    """

    def __init__(self, classes: int, windows: Sequence[int] = WINDOWS) -> None:
        self._confusion = np.zeros((classes + 1, classes), np.int64)
        self._consistency = VideoConsistency(windows)

    def add_video(self, frames: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Count the (true, predicted) label maps (H, W) of a video."""
        self._consistency.add_video(map(self._count, frames))

    def _count(self, frame: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        true, predicted = frame
        classes = self._confusion.shape[1]
        pairs = count_pairs(predicted, true)
        known = pairs.second < classes
        first = np.minimum(pairs.first, classes)
        np.add.at(self._confusion, (first[known], pairs.second[known]), pairs.pixels[known])
        return frame

    def values(self) -> dict[str, float]:
        """ "mIoU" over the classes with true pixels, and the values of `VideoConsistency`; percent."""
        return {"mIoU": semantic_metrics(self._confusion)["mIoU"], **self._consistency.values()}


def _longer(run: np.ndarray, unchanged: np.ndarray) -> np.ndarray:
    """For how many frames each pixel has had its label, counted up to 255."""
    return np.where(unchanged, np.minimum(run, 254) + 1, 1).astype(np.uint8)


def _share(true: np.ndarray, predicted: np.ndarray) -> float:
    constant = np.count_nonzero(true)
    return np.count_nonzero(true & predicted) / constant if constant else float("nan")


def _percent(shares: list[float]) -> float:
    defined = [share for share in shares if not np.isnan(share)]
    return float(100 * np.mean(defined)) if defined else float("nan")
