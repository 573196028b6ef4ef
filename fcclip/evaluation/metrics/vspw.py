"""VSPW's measure of flicker: video consistency (VC), the share of unchanging pixels with an unchanging prediction.

Its other measure is mIoU, as of images. VC asks whether a prediction flickers, not whether it is right. VC of n frames
is the mean over every n consecutive frames (but the last such window, which the published script leaves out) of: of the
pixels whose true label is the same in all n frames, void included, the share whose predicted label is so too. Videos of
n frames or fewer are left out.

Source: Miao et al., "VSPW: A Large-scale Dataset for Video Scene Parsing in the Wild", CVPR 2021, section 4.1; windows
as in the published script.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

WINDOWS = (8, 16)


Frames = Iterable[tuple[np.ndarray, np.ndarray]]  # (true, predicted) label maps (H, W), all of one size
Shares = dict[int, list[float]]  # length of a window -> a share, 0 to 1, per window


def consistent_shares(frames: Frames, windows: Sequence[int] = WINDOWS) -> Shares:
    """The shares of one video.

    Memory: the last two label maps and 2 bytes per pixel.

    Args:
        frames: read once, in order.
        windows: lengths in frames.
    """
    runs: tuple[np.ndarray, np.ndarray] | None = None
    last: tuple[np.ndarray, np.ndarray] | None = None
    found: Shares = {length: [] for length in windows}
    for frame in frames:
        if last is None or runs is None:
            runs = (np.ones(frame[0].shape, np.uint8), np.ones(frame[1].shape, np.uint8))
        else:
            runs = (_longer(runs[0], frame[0] == last[0]), _longer(runs[1], frame[1] == last[1]))
        last = frame
        for length, shares in found.items():
            shares.append(_share(runs[0] >= length, runs[1] >= length))
    return {length: shares[length - 1 : -1] for length, shares in found.items()}


def video_consistency(videos: Iterable[Shares]) -> dict[str, float]:
    """ "VC8", "VC16": percent, NaN without a window; "VC16_script": as the published script prints it.

    The script does not clear its list between the two, so that its second value averages over the windows of both.
    """
    everything: Shares = {}
    for video in videos:
        for length, shares in video.items():
            everything.setdefault(length, []).extend(shares)
    result = {f"VC{length}": _percent(shares) for length, shares in everything.items()}
    lengths = sorted(everything)
    for position, length in enumerate(lengths[1:], start=2):
        shares = [share for shorter in lengths[:position] for share in everything[shorter]]
        result[f"VC{length}_script"] = _percent(shares)
    return result


def _longer(run: np.ndarray, unchanged: np.ndarray) -> np.ndarray:
    """For how many frames each pixel has had its label, counted up to 255."""
    return np.where(unchanged, np.minimum(run, 254) + 1, 1).astype(np.uint8)


def _share(true: np.ndarray, predicted: np.ndarray) -> float:
    constant = np.count_nonzero(true)
    return np.count_nonzero(true & predicted) / constant if constant else float("nan")


def _percent(shares: list[float]) -> float:
    defined = [share for share in shares if not np.isnan(share)]
    return float(100 * np.mean(defined)) if defined else float("nan")
