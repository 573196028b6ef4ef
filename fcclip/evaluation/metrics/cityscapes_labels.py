"""Cityscapes' label table: what its evaluation must know about the ids in `*_gtFine_instanceIds.png`.

A pixel below 1000 holds a label id; above, 1000 x label id + number of the instance. Things whose instances cannot be
told apart (a crowd of people, a row of bicycles) keep the bare label id.

Source: https://github.com/mcordts/cityscapesScripts, helpers/labels.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRST_INSTANCE = 1000
LABELS = 34  # ids are 0..33


@dataclass(frozen=True)
class CityscapesLabel:
    """A class that is evaluated.

    Attributes:
        id: its label id.
        name: its official name.
        category: the coarser class it belongs to.
        instance_size: average pixels of an instance, for things; iIoU weighs with it.
    """

    id: int
    name: str
    category: str
    instance_size: float | None = None


EVALUATED = (
    CityscapesLabel(7, "road", "flat"),
    CityscapesLabel(8, "sidewalk", "flat"),
    CityscapesLabel(11, "building", "construction"),
    CityscapesLabel(12, "wall", "construction"),
    CityscapesLabel(13, "fence", "construction"),
    CityscapesLabel(17, "pole", "object"),
    CityscapesLabel(19, "traffic light", "object"),
    CityscapesLabel(20, "traffic sign", "object"),
    CityscapesLabel(21, "vegetation", "nature"),
    CityscapesLabel(22, "terrain", "nature"),
    CityscapesLabel(23, "sky", "sky"),
    CityscapesLabel(24, "person", "human", 3462.4756337644),
    CityscapesLabel(25, "rider", "human", 3930.4788056518),
    CityscapesLabel(26, "car", "vehicle", 12794.0202738185),
    CityscapesLabel(27, "truck", "vehicle", 27855.1264367816),
    CityscapesLabel(28, "bus", "vehicle", 35732.1511111111),
    CityscapesLabel(31, "train", "vehicle", 67583.7075812274),
    CityscapesLabel(32, "motorcycle", "vehicle", 6298.7200839748),
    CityscapesLabel(33, "bicycle", "vehicle", 4672.3249222261),
)
THINGS = tuple(label for label in EVALUATED if label.instance_size is not None)
IGNORED_IDS = tuple(sorted(set(range(LABELS)) - {label.id for label in EVALUATED}))


def label_of_instance(instance_ids: np.ndarray) -> np.ndarray:
    """Label id of each value of an instance map."""
    return np.where(instance_ids >= FIRST_INSTANCE, instance_ids // FIRST_INSTANCE, instance_ids)
