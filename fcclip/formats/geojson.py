"""Polygons in the structure of GeoJSON (RFC 7946), in pixels of the picture: y points down, there is no map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fcclip.drawing.style import View
from fcclip.files.atomic import write_json
from fcclip.formats.masks import NamedMask, named_masks
from fcclip.formats.polygons import mask_polygons
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer


class GeoJson(Writer):
    """`NAME.geojson`: a feature per object, with holes and parts as they are."""

    def add(self, result: Result, image: str) -> list[Path]:
        path = self.path(image, ".geojson")
        write_json(path, geojson_collection(result, self.options.tolerance, self.options.view))
        return [path]


def geojson_collection(result: Result, tolerance: float, view: View | None = None) -> dict[str, Any]:
    """A FeatureCollection; `tolerance` and `view` as in `labelme_record`."""
    features = [
        {"type": "Feature", "geometry": _geometry(mask, tolerance), "properties": _properties(mask)}
        for mask in named_masks(result, view)
    ]
    return {"type": "FeatureCollection", "features": features}


def _geometry(mask: NamedMask, tolerance: float) -> dict[str, Any]:
    polygons = [
        [_closed(ring) for ring in (polygon.outer, *polygon.holes)]
        for polygon in mask_polygons(mask.crop, tolerance, mask.box[:2])
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: np.ndarray) -> list[list[int]]:
    closed: list[list[int]] = np.concatenate([ring, ring[:1]]).tolist()
    return closed


def _properties(mask: NamedMask) -> dict[str, Any]:
    return {
        "id": mask.id,
        "name": mask.name,
        "category_id": mask.category_id,
        "is_thing": mask.is_thing,
        "score": mask.score,
        "area": mask.area,
        "box": list(mask.box),
    }
