"""Score video predictions that lie on disk, of whatever model, in VIPSeg's format: VPQ and STQ."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fcclip.evaluation.files import group_scores, in_order
from fcclip.evaluation.metrics.panoptic_quality import PanopticInputError, PanopticQuality, Segment
from fcclip.evaluation.metrics.stq import LabelPairs, SegmentationTrackingQuality
from fcclip.evaluation.metrics.video_panoptic import (
    PAPER_WINDOWS,
    SCRIPT_WINDOWS,
    FrameCounts,
    VideoPanopticQuality,
    count_frame,
)
from fcclip.files.panoptic import read_panoptic_png
from fcclip.files.video_panoptic import VideoFrame, VideoPanopticJson, read_video_panoptic_json

logger = logging.getLogger(__name__)

MEANINGS = {
    "VPQ": "mean of the windows 1, 2, 4 and 6, as in papers",
    "VPQ_script": "mean of the windows 1, 2, 4, 6 and 8, as in VIPSeg's published script",
    "STQ": "as VIPSeg's published script has it: an object that a video lists first is left out as if it were a crowd",
    "STQ_corrected": "objects numbered from 1, and crowds left out",
}


def score_video_panoptic_files(
    truth_json: Path, truth_folder: Path, prediction_json: Path, prediction_folder: Path, threads: int = 4
) -> dict[str, Any]:
    """VPQ and STQ of predictions in VIPSeg's format, equal to its published scripts; each PNG is decoded once.

    Args:
        truth_json, truth_folder: ground truth, with `categories`.
        prediction_json, prediction_folder: predictions for the same videos; frames are paired by their position.
        threads: frames compared at the same time.

    Returns:
        In percent, None where there is nothing to average: "VPQ", "VPQ_script", "VPQ_1" ... "VPQ_8", "STQ",
        "STQ_corrected", "AQ", "AQ_corrected", "SQ"; `windows`: window -> "All", "Things" and "Stuff" with "PQ", "SQ",
        "RQ" and "n" classes; `videos` and `frames`: their numbers; `notes`: sentences about what could not be computed.

    Raises:
        FileNotFoundError: a JSON or PNG file is missing.
        ValueError: a video is missing or has another number of frames, or a frame does not fit; names it.
    """
    truth, prediction = read_video_panoptic_json(truth_json), read_video_panoptic_json(prediction_json)
    if not truth.categories or not truth.videos:
        raise ValueError(f"{truth_json} has no categories or no videos, so there is nothing to score")
    _require_frames(truth, prediction, prediction_json)
    scores = VideoScores(truth.categories)
    jobs = [
        (video, true, predicted)
        for video, frames in truth.videos.items()
        for true, predicted in zip(frames, prediction.videos[video], strict=True)
    ]

    def count(job: tuple[str, VideoFrame, VideoFrame]) -> tuple[str, FrameCounts]:
        video, true, predicted = job
        return video, _count_files(truth_folder / video, true, prediction_folder / video, predicted, truth.categories)

    for video, counted in groupby(in_order(count, jobs, threads), key=lambda pair: pair[0]):
        scores.add_video(video, [frame for _, frame in counted])
    return scores.report()


def _count_files(
    true_folder: Path, true: VideoFrame, folder: Path, predicted: VideoFrame, categories: Mapping[int, Any]
) -> FrameCounts:
    maps = read_panoptic_png(true_folder / true.file_name), read_panoptic_png(folder / predicted.file_name)
    try:
        return count_frame(maps[0], true.segments, maps[1], predicted.segments, categories)
    except PanopticInputError as error:
        raise PanopticInputError(f"video {folder.name}, frame {predicted.file_name}: {error}") from error


def _require_frames(truth: VideoPanopticJson, prediction: VideoPanopticJson, name: Path) -> None:
    missing = [video for video in truth.videos if video not in prediction.videos]
    if missing:
        raise ValueError(
            f"{name} has no prediction for {len(missing)} of {len(truth.videos)} videos, e.g. {missing[0]}"
        )
    for video, frames in truth.videos.items():
        predicted = prediction.videos[video]
        if len(predicted) != len(frames):
            raise ValueError(f"{name} has {len(predicted)} frames of video {video}, the ground truth {len(frames)}")
        other = [
            (a.file_name, b.file_name) for a, b in zip(frames, predicted, strict=True) if a.file_name != b.file_name
        ]
        if other:
            logger.warning("video %s: frame %s is compared with %s, as both are in that place", video, *other[0])


@dataclass
class VideoScores:
    """VPQ and both kinds of STQ, video by video.

    Attributes:
        categories: category id -> record with `name` and `isthing`.
    """

    categories: Mapping[int, Mapping[str, Any]]
    frames: int = 0
    videos: int = 0
    vpq: VideoPanopticQuality = field(init=False)
    published: SegmentationTrackingQuality = field(init=False)
    corrected: SegmentationTrackingQuality = field(init=False)

    def __post_init__(self) -> None:
        self.vpq = VideoPanopticQuality(self.categories)
        self._index = {id_: index for index, id_ in enumerate(sorted(self.categories))}
        things = [self._index[id_] for id_, record in self.categories.items() if record["isthing"]]
        self.published = SegmentationTrackingQuality(len(self._index), things)
        self.corrected = SegmentationTrackingQuality(len(self._index), things)

    def add_video(self, video: str, frames: Sequence[FrameCounts]) -> None:
        """Add the frames of a video, in order.

        Raises:
            ValueError: a stated area of the ground truth is too small, or there are too many objects; names the video.
        """
        try:
            self.vpq.add_video(frames)
        except PanopticInputError as error:
            raise PanopticInputError(f"video {video}: {error}") from error
        for stq, first, crowd_is_zero in ((self.published, 0, False), (self.corrected, 1, True)):
            for labels in self._labelled(video, frames, first, crowd_is_zero):
                stq.add(video, labels)
        self.frames += len(frames)
        self.videos += 1

    def _labelled(
        self, video: str, frames: Sequence[FrameCounts], first: int, crowd_is_zero: bool
    ) -> Iterator[LabelPairs]:
        """The frames with a class and a number for each segment id; numbers in the order of first listing."""
        true_numbers: dict[int, int] = {}
        numbers: dict[int, int] = {}
        for frame in frames:
            true_class, true_number = self._labels(
                frame.pairs.first, frame.true_segments, true_numbers, first, crowd_is_zero
            )
            class_, number = self._labels(frame.pairs.second, frame.segments, numbers, first, False)
            if max(len(true_numbers), len(numbers)) >= 1 << 16:
                raise ValueError(f"video {video} has more than 65,535 segments, which STQ cannot number")
            yield LabelPairs(true_class, true_number, class_, number, frame.pairs.pixels)

    def _labels(
        self, ids: np.ndarray, segments: Sequence[Segment], numbers: dict[int, int], first: int, crowd_is_zero: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        none = len(self._index)
        labels: dict[int, tuple[int, int]] = {}
        for segment in segments:
            number = numbers.setdefault(segment["id"], len(numbers) + first)
            is_crowd = crowd_is_zero and segment.get("iscrowd", 0) == 1
            labels[segment["id"]] = (self._index.get(segment["category_id"], none), 0 if is_crowd else number)
        pairs = [labels.get(id_, (none, 0)) for id_ in ids.tolist()]
        table = np.array(pairs, np.int64).reshape(-1, 2)
        return table[:, 0], table[:, 1]

    def metrics(self) -> dict[str, float]:
        """All averages in percent, NaN where there is nothing to average; see `score_video_panoptic_files`."""
        published, corrected = self.published.result(), self.corrected.result()
        windows = self.vpq.of_window
        any_window = windows[PAPER_WINDOWS[0]]
        values = {
            "VPQ": self.vpq.mean(PAPER_WINDOWS),
            "VPQ_script": self.vpq.mean(SCRIPT_WINDOWS),
            **{f"VPQ_{length}": quality.quality().pq for length, quality in windows.items()},
            "VPQ_things": self.vpq.mean(PAPER_WINDOWS, any_window.things()),
            "VPQ_stuff": self.vpq.mean(PAPER_WINDOWS, any_window.things(False)),
            "STQ": published.stq,
            "STQ_corrected": corrected.stq,
            "AQ": published.aq,
            "AQ_corrected": corrected.aq,
            "SQ": published.sq,
        }
        return {name: 100 * value for name, value in values.items()}

    def report(self) -> dict[str, Any]:
        """See `score_video_panoptic_files`."""
        return {
            **{name: None if math.isnan(value) else value for name, value in self.metrics().items()},
            "windows": {str(length): _groups(quality) for length, quality in self.vpq.of_window.items()},
            "videos": self.videos,
            "frames": self.frames,
            "notes": self._notes(),
        }

    def _notes(self) -> list[str]:
        empty = [str(length) for length, quality in self.vpq.of_window.items() if not quality.quality().classes]
        if not empty:
            return []
        return [
            f"VPQ is undefined for windows of {', '.join(empty)} frames: no video is that long, or none has segments"
        ]


def _groups(quality: PanopticQuality) -> dict[str, dict[str, float | int | None]]:
    groups = {"All": None, "Things": quality.things(), "Stuff": quality.things(False)}
    return {name: group_scores(quality.quality(ids)) for name, ids in groups.items()}
