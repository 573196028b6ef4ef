"""Label Studio: tasks with predictions, as brush strokes or polygons, and the labelling configuration that fits them.

Source: https://labelstud.io/guide/predictions, "Import brush segmentation pre-annotations" and "Import polygons".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

import numpy as np

from fcclip.drawing.style import View
from fcclip.files.atomic import write_json, write_text
from fcclip.formats.masks import NamedMask, named_masks
from fcclip.formats.polygons import mask_polygons, polygon_ring
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer

Shape = Literal["brush", "polygon"]
CONTROL_TAGS: dict[Shape, str] = {"brush": "BrushLabels", "polygon": "PolygonLabels"}
CHANNELS = 4  # a brush mask is stored as an RGBA picture
LONGEST_RUN = 1 << 16
RUN_SIZES = (3, 4, 8, 16)  # bits of a run's length; every run is written with the last of them


class LabelStudioBrush(Writer):
    """`tasks.json` with brush masks, exact, and `label_config.xml`."""

    shape: Shape = "brush"
    _config = ""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tasks: list[dict[str, Any]] = []

    def add(self, result: Result, image: str) -> list[Path]:
        self._tasks.append(label_studio_task(result, image, self.shape, self.options.tolerance, self.options.view))
        self._config = label_studio_config(result, self.shape)
        return []

    def finish(self) -> list[Path]:
        tasks, config = self.folder / "tasks.json", self.folder / "label_config.xml"
        write_json(tasks, self._tasks)
        write_text(config, self._config)
        return [tasks, config]


class LabelStudioPolygons(LabelStudioBrush):
    """`tasks.json` with polygons, and `label_config.xml`."""

    shape: Shape = "polygon"


def label_studio_task(
    result: Result, image: str, shape: Shape, tolerance: float, view: View | None = None
) -> dict[str, Any]:
    """A task with one prediction; arguments as in `label_studio_results`, `image` is its address in Label Studio."""
    results = label_studio_results(result, shape, tolerance, view)
    scores = [record["score"] for record in results if "score" in record]
    prediction: dict[str, Any] = {"model_version": "fcclip", "result": results}
    if scores:
        prediction["score"] = sum(scores) / len(scores)
    return {"data": {"image": image}, "predictions": [prediction]}


def label_studio_results(
    result: Result,
    shape: Shape,
    tolerance: float,
    view: View | None = None,
    from_name: str = "label",
    to_name: str = "image",
) -> list[dict[str, Any]]:
    """The regions of a prediction.

    Args:
        result: what was found.
        shape: "brush" for exact masks; "polygon" for one region per part, holes joined by seams.
        tolerance: pixels by which a polygon may deviate from its mask.
        view: what is written; see `named_masks`.
        from_name, to_name: names of the control tag and of the image tag in the labelling configuration.
    """
    height, width = result.size
    kind = CONTROL_TAGS[shape].lower()
    regions = []
    for mask in named_masks(result, view):
        for part, value in enumerate(_values(mask, shape, tolerance, result.size)):
            region: dict[str, Any] = {
                "id": f"{mask.id}-{part}",
                "from_name": from_name,
                "to_name": to_name,
                "type": kind,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {**value, kind: [mask.name]},
            }
            if mask.score is not None:
                region["score"] = mask.score
            regions.append(region)
    return regions


def label_studio_config(result: Result, shape: Shape) -> str:
    """The labelling configuration (XML) with the classes of a result, in their colours."""
    tag = CONTROL_TAGS[shape]
    labels = [
        f'    <Label value={quoteattr(category.name)} background="#{bytes(result.color_of(index)).hex()}"/>'
        for index, category in enumerate(result.vocabulary.categories)
    ]
    opening = ["<View>", '  <Image name="image" value="$image" zoom="true"/>', f'  <{tag} name="label" toName="image">']
    return "\n".join([*opening, *labels, f"  </{tag}>", "</View>"]) + "\n"


def brush_rle(mask: np.ndarray) -> list[int]:
    """The bytes of Label Studio's brush format for an (H, W) bool mask.

    They pack bits: the number of values (32), the size of a value less 1 (5), four sizes of run lengths less 1 (4
    each), and then per run: 1 for "all alike", which size its length has (2), the length less 1, and the value.
    Source: the packing of https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack.
    """
    flat = mask.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = CHANNELS * np.diff(np.append(starts, flat.size))
    pieces = -(-lengths // LONGEST_RUN)
    values = np.repeat(np.where(flat[starts], 255, 0), pieces)
    run_lengths = np.full(len(values), LONGEST_RUN)
    run_lengths[np.cumsum(pieces) - 1] = lengths - (pieces - 1) * LONGEST_RUN
    header = _bits(np.array([CHANNELS * flat.size]), 32), _bits(np.array([7]), 5), _bits(np.array(RUN_SIZES) - 1, 4)
    kind = np.full(len(values), 0b1_11)
    runs = np.concatenate([_bits(kind, 3), _bits(run_lengths - 1, 16), _bits(values, 8)], axis=1)
    packed: list[int] = np.packbits(np.concatenate([*(part.ravel() for part in header), runs.ravel()])).tolist()
    return packed


def _bits(numbers: np.ndarray, size: int) -> np.ndarray:
    """(N,) -> (N, size) bits, the highest first."""
    return ((numbers[:, None] >> np.arange(size - 1, -1, -1)) & 1).astype(np.uint8)


def _values(mask: NamedMask, shape: Shape, tolerance: float, size: tuple[int, int]) -> list[dict[str, Any]]:
    if shape == "brush":
        return [{"format": "rle", "rle": brush_rle(mask.full(size))}]
    height, width = size
    percent = np.array([100 / width, 100 / height])
    polygons = mask_polygons(mask.crop, tolerance, mask.box[:2])
    return [{"points": (polygon_ring(polygon) * percent).tolist(), "closed": True} for polygon in polygons]
