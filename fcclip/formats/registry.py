"""The formats by the names under which they are asked for."""

from __future__ import annotations

from pathlib import Path

from fcclip.formats.areas import Areas
from fcclip.formats.class_ids import Ade20kIds, CityscapesIds, ClassIds
from fcclip.formats.coco_instances import CocoInstances, CocoPolygons
from fcclip.formats.coco_panoptic import CocoPanoptic
from fcclip.formats.geojson import GeoJson
from fcclip.formats.label_studio import LabelStudioBrush, LabelStudioPolygons
from fcclip.formats.labelme import LabelMe
from fcclip.formats.mask_files import Cutouts, MaskFiles
from fcclip.formats.writer import DEFAULT_OPTIONS, Writer, WriterOptions
from fcclip.formats.yolo import Yolo

FORMATS: dict[str, type[Writer]] = {
    "coco-panoptic": CocoPanoptic,
    "coco-instances": CocoInstances,
    "coco-polygons": CocoPolygons,
    "yolo": Yolo,
    "labelme": LabelMe,
    "label-studio": LabelStudioBrush,
    "label-studio-polygons": LabelStudioPolygons,
    "class-ids": ClassIds,
    "cityscapes-ids": CityscapesIds,
    "ade20k-ids": Ade20kIds,
    "masks": MaskFiles,
    "cutouts": Cutouts,
    "csv": Areas,
    "geojson": GeoJson,
}


def open_format(name: str, folder: str | Path, options: WriterOptions = DEFAULT_OPTIONS) -> Writer:
    """The writer of a format.

    Raises:
        ValueError: there is no format of that name.

    Examples:
        >>> from fcclip.formats.writer import WriterOptions
        >>> type(open_format("yolo", "dataset", WriterOptions(tolerance=0.5))).__name__
        'Yolo'
        >>> list(FORMATS)[:3]
        ['coco-panoptic', 'coco-instances', 'coco-polygons']
    """
    if name not in FORMATS:
        raise ValueError(f'there is no format "{name}"; choose from {", ".join(FORMATS)}')
    return FORMATS[name](folder, options)
