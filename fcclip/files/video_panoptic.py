"""VIPSeg's panoptic format for videos: a PNG per frame whose colours are segment ids, and one JSON file.

    FOLDER/<video>/<frame>.png      id = R + 256 G + 65536 B, 0 void; an object has one id in its whole video
    FILE.json                       "videos", "annotations" (per video the records of its frames), "categories"

Source: Miao et al., "Large-scale Video Panoptic Segmentation in the Wild: A Benchmark", CVPR 2022, and its scripts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcclip.files.atomic import write_json
from fcclip.files.coco_json import is_inside, read_json_object, read_list


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video.

    Attributes:
        file_name: of its PNG, inside the folder of its video.
        segments: records with `id`, `category_id` and, in ground truth, `area` and `iscrowd`.
    """

    file_name: str
    segments: list[dict[str, Any]]


@dataclass(frozen=True)
class VideoPanopticJson:
    """The content of a file.

    Attributes:
        categories: category id -> its record (`id`, `name`, `isthing`, `color`); empty in predictions.
        videos: video id -> its frames in order.
        sizes: video id -> (height, width) of its last frame, where the file says so.
    """

    categories: dict[int, dict[str, Any]]
    videos: dict[str, list[VideoFrame]]
    sizes: dict[str, tuple[int, int]]


def read_video_panoptic_json(path: str | Path) -> VideoPanopticJson:
    """Read and check a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON or not of this format; or a field is missing, or a video appears twice.
    """
    path = Path(path)
    content = read_json_object(path, "video panoptic JSON")
    videos: dict[str, list[VideoFrame]] = {}
    for record in read_list(content, "annotations", path):
        if not isinstance(record, dict) or "video_id" not in record or not isinstance(record.get("annotations"), list):
            raise ValueError(
                f"{path}: an annotation has no video_id or no list of frames; is it in VIPSeg's format, not COCO's?"
            )
        video = str(record["video_id"])
        if not is_inside(video):
            raise ValueError(f"{path}: {video!r} is no name of a video below the folder of PNGs")
        if video in videos:
            raise ValueError(f"{path}: video {video} has two annotations")
        videos[video] = [_frame(frame, path, video) for frame in record["annotations"]]
    for category in content.get("categories", ()):
        if not {"id", "name", "isthing"} <= category.keys():
            raise ValueError(f"{path}: a category has no id, no name or does not say whether it is a thing (isthing)")
    return VideoPanopticJson(
        categories={category["id"]: category for category in content.get("categories", ())},
        videos=videos,
        sizes={
            str(video["video_id"]): (image["height"], image["width"])
            for video in content.get("videos", ())
            for image in video.get("images", ())[-1:]
            if "height" in image and "width" in image
        },
    )


def write_video_panoptic_json(
    path: str | Path,
    videos: Mapping[str, Iterable[VideoFrame]],
    categories: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Write a file, atomically, that both this project and VIPSeg's scripts read as a prediction."""
    annotations = [
        {
            "video_id": video,
            "annotations": [{"file_name": frame.file_name, "segments_info": frame.segments} for frame in frames],
        }
        for video, frames in videos.items()
    ]
    write_json(path, {"annotations": annotations, "categories": list(categories)})


def _frame(record: Mapping[str, Any], path: Path, video: str) -> VideoFrame:
    missing = {"file_name", "segments_info"} - record.keys()
    if missing:
        raise ValueError(f"{path}: a frame of video {video} has no {', '.join(sorted(missing))}")
    if not isinstance(record["file_name"], str) or not is_inside(record["file_name"]):
        raise ValueError(
            f"{path}: video {video} has file_name {record['file_name']!r}; it should be a name in its folder"
        )
    name = str(Path(record["file_name"]).with_suffix(".png"))
    for segment in record["segments_info"]:
        if "id" not in segment or "category_id" not in segment:
            raise ValueError(f"{path}: a segment of frame {name} of video {video} has no id or no category_id")
    return VideoFrame(name, record["segments_info"])
