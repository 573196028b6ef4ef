"""VIPSeg: frames and masks of 720 rows, and panoptic PNGs with JSON files, from its raw download.

Source: the formats of https://github.com/VIPSeg-Dataset/VIPSeg-Dataset (change2_720p, create_panoptic_video_labels).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcclip.data.datasets.tables import category_table
from fcclip.data.prepare.jobs import Options, Output, count_outputs, run_jobs
from fcclip.files.atomic import atomic_path, write_json
from fcclip.files.images import read_label_map
from fcclip.files.panoptic import measure_segments, write_panoptic_png
from fcclip.files.stamps import is_current, stamp_of

HEIGHT = 720  # rows
SPLITS = ("train", "val", "test")
FIRST_THING = 125  # a raw value below it is class + 1 of stuff, from it on 100 (class + 1) + number of a thing
JPEG_QUALITY = 95

Record = dict[str, Any]


@dataclass(frozen=True)
class _Video:
    name: str
    raw: Path  # VIPSeg
    target: Path  # VIPSeg_720P


def prepare(options: Options) -> list[Output]:
    """VIPSeg/{imgs,panomasks} -> VIPSeg/VIPSeg_720P/{images,panomasksRGB,*.json}."""
    raw = options.root / "VIPSeg"
    target = raw / "VIPSeg_720P"
    splits = {split: raw / f"{split}.txt" for split in SPLITS if (raw / f"{split}.txt").is_file()}
    if not splits or not (raw / "imgs").is_dir() or not (raw / "panomasks").is_dir():
        raise FileNotFoundError(f"{raw} lacks imgs, panomasks or train.txt, val.txt and test.txt of VIPSeg's download")
    categories = vipseg_categories()
    write_json(target / "panoVIPSeg_categories.json", categories)
    outputs = []
    for split, listing in splits.items():
        videos = [_Video(name, raw, target) for name in listing.read_text(encoding="utf-8").split()]
        found = run_jobs(_convert_video, videos, options.workers, f"VIPSeg {split}", unit="video")
        content = {
            "videos": [video for video, _, _ in found],
            "annotations": [annotation for _, annotation, _ in found],
            "categories": categories,
        }
        write_json(target / f"panoptic_gt_VIPSeg_{split}.json", content)
        with atomic_path(target / listing.name) as scratch:
            shutil.copyfile(listing, scratch)
        outputs.append(count_outputs(target / split, [written for _, _, flags in found for written in flags]))
    return outputs


def vipseg_categories() -> list[Record]:
    """The records of the 124 categories, by id."""
    table = category_table("vipseg")
    rows = zip(table.ids, table.names, table.is_thing, table.colors, strict=True)
    records = [
        {"id": id_, "name": name, "isthing": int(thing), "color": list(color)} for id_, name, thing, color in rows
    ]
    return sorted(records, key=lambda record: record["id"])


def segments_of_raw_map(values: np.ndarray) -> tuple[np.ndarray, list[Record]]:
    """Segment ids and records of a raw map (H, W); an object has the same id in all frames of its video.

    The raw value itself is the id: it is unique in a video.
    """
    records = []
    for value in np.unique(values).tolist():
        if value:
            category = value - 1 if value < FIRST_THING else value // 100 - 1
            records.append({"id": value, "category_id": category, "iscrowd": 0})
    ids = values.astype(np.int32)
    return ids, measure_segments(ids, records)


def _convert_video(video: _Video) -> tuple[Record, Record, list[bool]]:
    """Write the frames of a video; its records in "videos" and "annotations", and whether each frame was written."""
    masks = sorted((video.raw / "panomasks" / video.name).glob("*.png"))
    if not masks:
        raise FileNotFoundError(f"{video.raw / 'panomasks' / video.name} has no *.png; is VIPSeg unpacked completely?")
    convert = partial(_convert_frame, video)
    images, annotations, written = zip(*map(convert, masks), strict=True)
    return (
        {"video_id": video.name, "images": list(images)},
        {"video_id": video.name, "annotations": list(annotations)},
        list(written),
    )


def _convert_frame(video: _Video, mask: Path) -> tuple[Record, Record, bool]:
    image = video.raw / "imgs" / video.name / f"{mask.stem}.jpg"
    stamp = stamp_of([image, mask], f"{HEIGHT} rows")
    values = read_label_map(mask)
    height, width = values.shape
    size = (int(HEIGHT * width / height), HEIGHT)
    resized = np.asarray(Image.fromarray(values.astype(np.int32)).resize(size, Image.Resampling.NEAREST))
    ids, segments = segments_of_raw_map(resized)
    picture = video.target / "images" / video.name / image.name
    png = video.target / "panomasksRGB" / video.name / mask.name
    write = not (is_current(picture, stamp) and is_current(png, stamp))
    if write:
        with Image.open(image) as opened, atomic_path(picture) as scratch:
            resized_image = opened.convert("RGB").resize(size, Image.Resampling.BILINEAR)
            resized_image.save(scratch, quality=JPEG_QUALITY, comment=stamp)
        write_panoptic_png(png, ids, stamp)
    stated = {"id": mask.stem, "width": size[0], "height": size[1], "file_name": mask.name}
    return stated, {"image_id": mask.stem, "file_name": mask.name, "segments_info": segments}, write
