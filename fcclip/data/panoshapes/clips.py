"""Write rendered clips in the layout of VIPSeg, the format of video panoptic segmentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.clip import FRAMES, render_clip
from fcclip.data.panoshapes.dataset import JPEG_QUALITY, SIDE, dataset_id, panoptic_category
from fcclip.data.panoshapes.scene import Scene
from fcclip.data.prepare.jobs import run_jobs
from fcclip.files.atomic import atomic_path, write_json
from fcclip.files.panoptic import measure_segments, write_panoptic_png

CLIPS_WORLD = "panoshapes-clips-1"  # folder of the rendered files; a change of what is rendered needs a new number

Record = dict[str, Any]


@dataclass(frozen=True)
class ClipSplit:
    """A set of clips.

    Attributes:
        name: "clips_a".
        seed: clip `i` is rendered from the generator of (seed, i).
        clips: their number.
        cuts: see `render_clip`.
    """

    name: str
    seed: int
    clips: int = 12
    frames: int = FRAMES
    cuts: tuple[int, ...] = ()

    def clip(self, index: int, side: int = SIDE) -> Iterator[Scene]:
        """Render the frames of one clip, (side, side)."""
        rng = np.random.default_rng([self.seed, index])
        return render_clip(rng, side, side, self.frames, cuts=self.cuts)


CLIP_SPLITS = {
    split.name: split
    for split in (
        ClipSplit("clips_a", 2001),
        ClipSplit("clips_b", 2002),
        ClipSplit("clips_c", 2003),
        ClipSplit("clips_cut", 2004, clips=6, frames=30, cuts=(10, 20)),
    )
}


def write_clips(folder: Path, split: ClipSplit, side: int = SIDE, workers: int = 0) -> None:
    """Render a split into `folder`, unless it is there.

    Files: `images/<clip>/*.jpg`, `panoptic/<clip>/*.png` and, written last, `panoptic.json`. Each is written
    atomically and depends on its clip alone, so that an interrupted run, or two at once, do no harm.
    """
    if (folder / "panoptic.json").is_file():
        return
    render = partial(_write_clip, folder=folder, split=split, side=side)
    annotations = run_jobs(render, range(split.clips), workers, f"rendering PanoShapes {split.name}", unit="clip")
    videos = [{"video_id": entry["video_id"], "images": entry.pop("images")} for entry in annotations]
    categories = [panoptic_category(entry) for entry in CLASSES]
    write_json(folder / "panoptic.json", {"videos": videos, "annotations": annotations, "categories": categories})


def _write_clip(index: int, folder: Path, split: ClipSplit, side: int) -> Record:
    """Write the frames of one clip; its annotation, with the records of its images under "images"."""
    clip = f"{index:03d}"
    frames = []
    images = []
    for number, scene in enumerate(split.clip(index, side)):
        name = f"{number:05d}"
        with atomic_path(folder / "images" / clip / f"{name}.jpg") as scratch:
            Image.fromarray(scene.image).save(scratch, quality=JPEG_QUALITY, subsampling=0)
        write_panoptic_png(folder / "panoptic" / clip / f"{name}.png", scene.ids)
        segments = [{"id": entry.id, "category_id": dataset_id(CLASSES[entry.category])} for entry in scene.segments]
        frames.append(
            {"image_id": name, "file_name": f"{name}.png", "segments_info": measure_segments(scene.ids, segments)}
        )
        images.append({"id": name, "width": side, "height": side, "file_name": f"{name}.png"})
    return {"video_id": clip, "annotations": frames, "images": images}
