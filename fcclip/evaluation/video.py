"""Evaluation on videos: panoptic (VPQ, STQ), instances (YouTube-VIS AP) and semantic (mIoU, VC).

An output is what MinVIS_OV returns for a video: `pred_masks`, and `segments_infos`, or `pred_scores` and `pred_labels`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog

from fcclip.data.datasets.video_layouts import read_youtube_vis_json
from fcclip.evaluation.base import ImageEvaluator, ImageStatistics, Results
from fcclip.evaluation.classes import display_names
from fcclip.evaluation.metrics.histogram import PairCounts, count_pairs
from fcclip.evaluation.metrics.panoptic_quality import PanopticInputError
from fcclip.evaluation.metrics.semantic import CONVENTIONS, class_scores, semantic_metrics
from fcclip.evaluation.metrics.video_panoptic import FrameCounts, count_frame
from fcclip.evaluation.metrics.vspw import consistent_shares, video_consistency
from fcclip.evaluation.metrics.youtube_vis import video_average_precision
from fcclip.evaluation.video_files import MEANINGS, VideoScores
from fcclip.files.atomic import write_json
from fcclip.files.images import read_label_map
from fcclip.files.panoptic import measure_segments, read_panoptic_png, write_panoptic_png
from fcclip.files.rle import encode_mask
from fcclip.files.video_panoptic import VideoFrame, write_video_panoptic_json

logger = logging.getLogger(__name__)

TRUTH_KEYS = ("pan_seg_file_name", "mask_file_name")  # of the record of a frame


class VideoEvaluator(ImageEvaluator):
    """Keeps the statistics of every video, which are small, and computes the measures at the end.

    Args:
        dataset_name: a video dataset.
        folder: where predictions are written, or None.
    """

    def __init__(self, dataset_name: str, folder: Path | None = None) -> None:
        self._metadata = MetadataCatalog.get(dataset_name)
        self._folder = folder
        self.reset()

    def truth_files(self, records: Sequence[Mapping[str, Any]]) -> list[str]:
        known = self._metadata.get("panoptic_json") or self._metadata.get("json_file")
        files = [frame.get(key) for record in records for frame in record["frames"] for key in TRUTH_KEYS]
        return [path for path in (known, *files) if path is not None]

    def reset(self) -> None:
        self._videos: list[ImageStatistics] = []

    def add(self, statistics: ImageStatistics) -> None:
        self._videos.append(statistics)

    def state(self) -> list[ImageStatistics]:
        return self._videos

    def merge(self, state: list[ImageStatistics]) -> None:
        self._videos += state


class VideoPanopticEvaluator(VideoEvaluator):
    """VPQ and STQ; with a folder, predictions are written as VIPSeg's scripts read them."""

    name = "video_panoptic"
    conventions = MEANINGS

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        """Compare one video.

        Raises:
            ValueError: the output is of another task, or does not fit the ground truth; names the frame.
        """
        maps = np.asarray(_require(output, "segments_infos", "vps")["pred_masks"])
        classes = set(range(len(self._metadata.stuff_classes)))
        frames = [
            self._measure_frame(frame, ids, output["segments_infos"], classes)
            for frame, ids in zip(record["frames"], maps, strict=True)
        ]
        statistics: ImageStatistics = {"video": str(record["video_id"]), "frames": frames}
        if self._folder is not None:
            statistics["annotations"] = self._write(statistics["video"], record, maps, frames)
        return statistics

    def _measure_frame(
        self, frame: Mapping[str, Any], ids: np.ndarray, segments: list[dict[str, Any]], classes: set[int]
    ) -> dict[str, Any]:
        present = set(np.unique(ids).tolist())
        listed = [{"id": s["id"], "category_id": s["category_id"]} for s in segments if s["id"] in present]
        truth = [
            {"id": s["id"], "category_id": s["category_id"], "area": s["area"], "iscrowd": s.get("iscrowd", 0)}
            for s in frame["segments_info"]
        ]
        try:
            counts = count_frame(read_panoptic_png(frame["pan_seg_file_name"]), truth, ids, listed, classes)
        except PanopticInputError as error:
            raise PanopticInputError(f"{frame['file_name']}: {error}") from error
        pairs = [column.tolist() for column in counts.pairs]
        return {"pairs": pairs, "true_segments": truth, "segments": listed}

    def _write(
        self, video: str, record: Mapping[str, Any], maps: np.ndarray, frames: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        assert self._folder is not None
        either = {
            **self._metadata.stuff_dataset_id_to_contiguous_id,
            **self._metadata.thing_dataset_id_to_contiguous_id,
        }
        dataset_id = {contiguous: id_ for id_, contiguous in either.items()}
        annotations = []
        for frame, ids, counted in zip(record["frames"], maps, frames, strict=True):
            name = Path(frame["file_name"]).with_suffix(".png").name
            write_panoptic_png(self._folder / "pan_pred" / video / name, ids)
            segments = [{**s, "category_id": dataset_id[s["category_id"]]} for s in counted["segments"]]
            annotations.append({"file_name": name, "segments_info": measure_segments(ids, segments)})
        return annotations

    def results(self) -> Results:
        names = display_names(self._metadata.stuff_classes)
        things = set(self._metadata.thing_dataset_id_to_contiguous_id.values())
        scores = VideoScores({index: {"name": name, "isthing": index in things} for index, name in enumerate(names)})
        for video in sorted(self._videos, key=lambda video: video["video"]):
            scores.add_video(video["video"], [_frame_counts(frame) for frame in video["frames"]])
        if self._folder is not None:
            written = {
                video["video"]: [VideoFrame(a["file_name"], a["segments_info"]) for a in video["annotations"]]
                for video in self._videos
            }
            write_video_panoptic_json(self._folder / "pred.json", written)
        per_class = {f"VPQ-{name}": 100 * scores.vpq.mean(categories=[index]) for index, name in enumerate(names)}
        return {self.name: {**scores.metrics(), **per_class}}


class VideoInstanceEvaluator(VideoEvaluator):
    """AP of tubes where the annotations are public; results.json for the server where they are not."""

    name = "video_instance"

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        """Encode the instances of one video."""
        _require(output, "pred_scores", "vis")
        dataset_id = {index: id_ for id_, index in self._metadata.thing_dataset_id_to_contiguous_id.items()}
        records = [
            {
                "video_id": record["video_id"],
                "score": float(score),
                "category_id": dataset_id[int(label)],
                "segmentations": [encode_mask(np.asarray(mask)) for mask in masks],
            }
            for score, label, masks in zip(
                output["pred_scores"], output["pred_labels"], output["pred_masks"], strict=True
            )
        ]
        return {"video": str(record["video_id"]), "records": records}

    def results(self) -> Results:
        records = [record for video in self._videos for record in video["records"]]
        if self._folder is not None:
            write_json(self._folder / "video_instances.json", records)
        truth = read_youtube_vis_json(self._metadata.json_file)
        if not truth.get("annotations"):
            where = self._folder / "video_instances.json" if self._folder else "nowhere; set TEST.INSTANCE_EXPORT True"
            logger.warning("%s has no annotations, so its server scores: %s", self._metadata.name, where)
            return {self.name: {}}
        return {self.name: video_average_precision(truth, records)}


class VideoSemanticEvaluator(VideoEvaluator):
    """mIoU, fwIoU, mACC and pACC over all frames, VC8 and VC16; label maps hold dataset id + 1, as VSPW's do."""

    name = "video_semantic"
    conventions = CONVENTIONS

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        """Compare one video."""
        _require(output, "pred_masks", "vss")
        size = len(self._metadata.stuff_classes)
        confusion = np.zeros((size, size), np.int64)
        frames = self._compare(record, np.asarray(output["pred_masks"]), confusion)
        shares = {str(length): values for length, values in consistent_shares(frames).items()}
        predicted, true = np.nonzero(confusion)
        pixels = confusion[predicted, true].tolist()
        pairs = [predicted.tolist(), true.tolist(), pixels]
        return {"video": str(record["video_id"]), "pairs": pairs, "shares": shares}

    def _compare(
        self, record: Mapping[str, Any], predictions: np.ndarray, confusion: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        size = len(confusion)
        table = np.full(256, size, np.int64)  # what is no class is void
        for dataset_id, index in self._metadata.stuff_dataset_id_to_contiguous_id.items():
            table[dataset_id + 1] = index
        for frame, predicted in zip(record["frames"], predictions, strict=True):
            true = table[read_label_map(frame["mask_file_name"])]
            pairs = count_pairs(predicted, true)
            known = pairs.second < size
            np.add.at(confusion, (pairs.first[known], pairs.second[known]), pairs.pixels[known])
            yield true, predicted

    def results(self) -> Results:
        classes = self._metadata.stuff_classes
        confusion = np.zeros((len(classes) + 1, len(classes)), np.int64)
        for video in self._videos:
            predicted, true, pixels = (np.asarray(column, np.int64) for column in video["pairs"])
            np.add.at(confusion, (predicted, true), pixels)
        shares = [{int(length): values for length, values in video["shares"].items()} for video in self._videos]
        iou, _ = class_scores(confusion)
        values = {**semantic_metrics(confusion), **video_consistency(shares)}
        values |= {f"IoU-{name}": float(value) for name, value in zip(display_names(classes), iou, strict=True)}
        return {self.name: values}


def _frame_counts(frame: Mapping[str, Any]) -> FrameCounts:
    pairs = PairCounts(*(np.asarray(column, np.int64) for column in frame["pairs"]))
    return FrameCounts(pairs, frame["true_segments"], frame["segments"])


def _require(output: Mapping[str, Any], key: str, task: str) -> Mapping[str, Any]:
    """The output, or one sentence if it is not that of the task."""
    if output.get(key) is None or output.get("task", task) != task:
        raise ValueError(
            f"this dataset is evaluated on results of a video model; set MODEL.META_ARCHITECTURE MinVIS_OV and "
            f'MODEL.MASK_FORMER.TEST.TASK "{task}"'
        )
    return output
