"""One JSON of all shards of COCO panoptic results, or their score; no image is segmented again."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fcclip.batch.manifest import counted_parts
from fcclip.batch.parts import read_part
from fcclip.batch.plan import read_plan
from fcclip.batch.store import Store
from fcclip.batch.writing import SHARDS
from fcclip.evaluation.files import panoptic_report
from fcclip.evaluation.metrics.panoptic_quality import PanopticQuality, count_image
from fcclip.files.atomic import full_disk_told
from fcclip.files.panoptic import decode_panoptic_png, read_panoptic_json, read_panoptic_png
from fcclip.files.scratch import scratch_folder

MERGED = "panoptic.json"
PNGS = "panoptic"  # folder


@dataclass(frozen=True)
class Prediction:
    """The panoptic result of one image.

    Attributes:
        image, annotation: its records, as in a COCO panoptic JSON.
        png: content of its PNG.
        is_loose: the PNG is a file of its own already.
    """

    image: dict[str, Any]
    annotation: dict[str, Any]
    png: bytes
    is_loose: bool


def read_categories(store: Store) -> list[dict[str, Any]]:
    """The vocabulary as COCO's categories.

    Raises:
        ValueError: no COCO panoptic results are there.
    """
    for name in store.names(SHARDS):
        if name.endswith(".json"):
            found: list[dict[str, Any]] = (store.read_json(f"{SHARDS}/{name}") or {})["categories"]
            return found
    raise ValueError(f"{store.address} has no COCO panoptic results to join or to score; check --output")


def predictions(store: Store) -> Iterator[Prediction]:
    """The results of all images that are done, each once, one shard after the other."""
    plan = read_plan(store)
    if plan is None:
        raise ValueError(f"{store.address} holds no results; check --output")
    for part in counted_parts(store, plan):
        records = read_part(store, part)
        for shard in dict.fromkeys(record["shard"] for record in records if record["shard"] is not None):
            wanted = {record["image_id"] for record in records if record["shard"] == shard}
            yield from _read_shard(store, shard, wanted)


def _read_shard(store: Store, shard: str, wanted: set[int]) -> Iterator[Prediction]:
    content = store.read_json(f"{SHARDS}/{shard}.json")
    if content is None:
        raise ValueError(f"{store.address}/{SHARDS}/{shard}.json is missing, though the index has it")
    images = {image["id"]: image for image in content["images"]}
    packed = store.read(f"{SHARDS}/{shard}.tar")
    if packed is None:
        for record in content["annotations"]:
            png = store.read(f"{PNGS}/{record['file_name']}")
            if png is None:
                raise ValueError(f"{store.address}/{PNGS}/{record['file_name']} is missing, though the index has it")
            if record["image_id"] in wanted:
                yield Prediction(images[record["image_id"]], record, png, True)
        return
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for record in content["annotations"]:
            file = archive.extractfile(record["file_name"])
            if file is not None and record["image_id"] in wanted:
                yield Prediction(images[record["image_id"]], record, file.read(), False)


def merge(store: Store) -> str:
    """Join the shards: `panoptic.json`, and the folder `panoptic` of PNGs, as panopticapi reads them.

    Memory does not depend on the number of images.

    Returns:
        The address of the JSON file.

    Raises:
        ValueError: there are no such results.
    """
    categories = read_categories(store)
    with scratch_folder("merge") as folder, full_disk_told(folder / MERGED):
        images, annotations, whole = (folder / part for part in ("images", "annotations", "whole"))
        with images.open("w") as image_file, annotations.open("w") as annotation_file:
            separator = ""
            for one in predictions(store):
                image_file.write(separator + json.dumps(one.image))
                annotation_file.write(separator + json.dumps(one.annotation))
                separator = ",\n"
                if not one.is_loose:
                    store.write(f"{PNGS}/{one.annotation['file_name']}", one.png)
        with whole.open("wb") as target:
            for opening, part in ((b'{"images": [', images), (b'], "annotations": [', annotations)):
                target.write(opening)
                with part.open("rb") as content:
                    shutil.copyfileobj(content, target)
            target.write(b'], "categories": ' + json.dumps(categories).encode() + b"}\n")
        store.put(MERGED, whole)
    return f"{store.address}/{MERGED}"


def evaluate(store: Store, truth_json: Path, truth_folder: Path) -> dict[str, Any]:
    """Panoptic quality of the results; classes are matched by their names, and images by theirs without the suffix.

    Args:
        store: the target.
        truth_json, truth_folder: ground truth in COCO's panoptic format.

    Returns:
        As `fcclip.evaluation.files.score_panoptic_files`.

    Raises:
        ValueError: an image of the ground truth has no result, or a class of the results is not in it.
    """
    truth = read_panoptic_json(truth_json)
    ids = _class_ids(read_categories(store), truth.categories)
    by_stem = {_stem(record["file_name"]): record for record in truth.annotations.values()}
    quality = PanopticQuality(truth.categories)
    for one in predictions(store):
        true = by_stem.pop(_stem(one.annotation["file_name"]), None)
        if true is None:
            continue
        segments = [{**s, "category_id": ids[s["category_id"]]} for s in one.annotation["segments_info"]]
        true_map: np.ndarray = read_panoptic_png(truth_folder / true["file_name"])
        predicted_map = decode_panoptic_png(one.png, one.annotation["file_name"])
        quality.add(count_image(true_map, true["segments_info"], predicted_map, segments, truth.categories))
    if by_stem:
        raise ValueError(
            f"{len(by_stem)} of {len(truth.annotations)} images of {truth_json} have no result, e.g. "
            f"{next(iter(by_stem))}; segment them first, or try again those that failed with --retry-failed"
        )
    return panoptic_report(quality, len(truth.annotations))


def _class_ids(ours: list[dict[str, Any]], theirs: Mapping[int, dict[str, Any]]) -> dict[int, int]:
    by_name = {name.strip(): id_ for id_, category in theirs.items() for name in category["name"].split(",")}
    unknown = [category["name"] for category in ours if category["name"] not in by_name]
    if unknown:
        raise ValueError(
            f"the ground truth has no class {', '.join(unknown[:5])}; segment with the classes of the ground truth"
        )
    return {category["id"]: by_name[category["name"]] for category in ours}


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()
