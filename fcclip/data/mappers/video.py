"""The mapper of evaluation on videos: read and resize all frames, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcclip.data.mappers.inference import InferenceMapper


class VideoInferenceMapper(InferenceMapper):
    """As `InferenceMapper`, of every frame of a video.

    The sample has "image", a list of (3, H, W) uint8 tensors, "height" and "width" of the last frame's file, which
    stand for the video, "file_names", and the record's other keys but "frames".
    """

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        samples = [super(VideoInferenceMapper, self).__call__({"file_name": f["file_name"]}) for f in record["frames"]]
        return {
            **{key: value for key, value in record.items() if key != "frames"},
            "image": [sample["image"] for sample in samples],
            "height": samples[-1]["height"],
            "width": samples[-1]["width"],
            "file_names": [sample["file_name"] for sample in samples],
        }
