"""How the files of video datasets are laid out on disk, and how they become records, one per video.

A record has `file_name` (of the first frame), `video_id`, `length`, and `frames`: a record per frame, with `file_name`
and whatever its kind of annotations adds, as the records of images have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.data.catalog import Metadata

from fcclip.data.datasets.layouts import Layout, Record, segment_converter
from fcclip.data.validation.findings import Findings
from fcclip.files.coco_json import read_json_object
from fcclip.files.video_panoptic import read_video_panoptic_json


@dataclass(frozen=True)
class VideoPanopticLayout(Layout):
    """VIPSeg's format; frames have `pan_seg_file_name` and `segments_info`.

    Attributes:
        images: folder of videos, frames called as their PNGs.
        panoptic: folder of videos of panoptic PNGs.
        panoptic_json: their description.
    """

    images: str
    panoptic: str
    panoptic_json: str
    image_suffix: str = ".jpg"

    def metadata_paths(self) -> dict[str, str]:
        return {"image_root": self.images, "panoptic_root": self.panoptic, "panoptic_json": self.panoptic_json}

    def required(self) -> list[str]:
        return [self.images, self.panoptic, self.panoptic_json]

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        contiguous = segment_converter(metadata, findings)
        content = read_video_panoptic_json(root / self.panoptic_json)
        records = []
        for video, frames in content.videos.items():
            images = root / self.images / video
            records.append(
                video_record(
                    video,
                    [
                        {
                            "file_name": str((images / frame.file_name).with_suffix(self.image_suffix)),
                            "pan_seg_file_name": str(root / self.panoptic / video / frame.file_name),
                            "segments_info": [contiguous(segment) for segment in frame.segments],
                        }
                        for frame in frames
                    ],
                )
            )
        return records


@dataclass(frozen=True)
class VideoSemanticLayout(Layout):
    """VSPW's folders: `<video>/origin/<frame>.jpg` and `<video>/mask/<frame>.png`; frames have `mask_file_name`.

    Attributes:
        videos: folder of videos.
        split: text file with the name of a video in each line.
    """

    videos: str
    split: str

    def metadata_paths(self) -> dict[str, str]:
        return {"image_root": self.videos, "sem_seg_root": self.videos, "video_list": self.split}

    def required(self) -> list[str]:
        return [self.videos, self.split]

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        names = (root / self.split).read_text(encoding="utf-8").split()
        return [video_record(name, self._frames(root / self.videos / name, metadata.name)) for name in names]

    @staticmethod
    def _frames(folder: Path, dataset: str) -> list[Record]:
        images = sorted((folder / "origin").glob("*.jpg"))
        if not images:
            raise FileNotFoundError(f'dataset "{dataset}": {folder / "origin"} has no frames (*.jpg)')
        return [
            {"file_name": str(image), "mask_file_name": str(folder / "mask" / f"{image.stem}.png")} for image in images
        ]


@dataclass(frozen=True)
class VideoInstanceLayout(Layout):
    """YouTube-VIS's JSON, which OVIS and LV-VIS have too; a video has `height` and `width`.

    Its annotations stay in the file, where the evaluator reads them.
    """

    images: str
    json_file: str

    def metadata_paths(self) -> dict[str, str]:
        return {"image_root": self.images, "json_file": self.json_file}

    def required(self) -> list[str]:
        return [self.images, self.json_file]

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        path = root / self.json_file
        content = read_youtube_vis_json(path)
        images = root / self.images
        return [
            video_record(video["id"], [{"file_name": str(images / name)} for name in video["file_names"]])
            | {"height": video["height"], "width": video["width"]}
            for video in content["videos"]
        ]


def read_youtube_vis_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file of YouTube-VIS's format: `videos`, `categories` and, where they are public, `annotations`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or not of this format.
    """
    path = Path(path)
    content = read_json_object(path, "video annotations")
    if not {"videos", "categories"} <= content.keys():
        raise ValueError(f'{path} is not in YouTube-VIS\'s format: it has no "videos" or no "categories"')
    for video in content["videos"]:
        missing = {"id", "height", "width", "file_names"} - video.keys()
        if missing:
            raise ValueError(f"{path}: a video has no {', '.join(sorted(missing))}")
    return content


def video_record(video_id: int | str, frames: Sequence[Record]) -> Record:
    """The record of a video.

    Raises:
        ValueError: it has no frame.
    """
    if not frames:
        raise ValueError(f"video {video_id} has no frames")
    return {"file_name": frames[0]["file_name"], "video_id": video_id, "length": len(frames), "frames": list(frames)}
