"""A small result with what formats get wrong: a hole, parts that touch at a corner, overlapping instances."""

from typing import Any

import numpy as np

from fcclip.formats.result import Instances, describe_segments
from fcclip.segmentation import Segmentation
from fcclip.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_string("cat,kitten; traffic light; sky,clouds=stuff; wall=stuff")
HEIGHT, WIDTH = 48, 64


def panoptic_map() -> np.ndarray:
    """A cat (1) with a hole and an island, a light (3) of two squares that touch at a corner, a sky (7), nothing."""
    ids = np.zeros((HEIGHT, WIDTH), np.int32)
    ids[:12] = 7
    ids[16:40, 4:28] = 1
    ids[22:30, 10:18] = 0  # the hole
    ids[20:26, 50:60] = 1  # the island
    ids[30:36, 34:40] = 3
    ids[36:42, 40:46] = 3
    return ids


def instance_masks() -> np.ndarray:
    masks = np.zeros((2, HEIGHT, WIDTH), bool)
    masks[0] = panoptic_map() == 1
    masks[1, 24:44, 20:44] = True  # overlaps the cat
    return masks


def sample(**changes: Any) -> Segmentation:
    """The result of all three tasks; `changes` replace fields."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    ids = panoptic_map()
    records = [
        {"id": 1, "category_id": 0, "isthing": True},
        {"id": 3, "category_id": 1, "isthing": True},
        {"id": 7, "category_id": 2, "isthing": False},
    ]
    boxes = np.array([[4, 16, 60, 40], [20, 24, 44, 44]], np.float32)
    values = {
        "panoptic": ids,
        "segments": describe_segments(ids, records, [0.9, 0.6, 0.75], VOCABULARY),
        "instances": Instances(instance_masks(), boxes, np.array([0.8, 0.3], np.float32), np.array([0, 1])),
        "semantic": np.where(ids == 7, 2, np.where(ids == 1, 0, np.where(ids == 3, 1, 3))).astype(np.int32),
    }
    return Segmentation(image, VOCABULARY, **{**values, **changes})


def only(task: str) -> Segmentation:
    """The result of one task: "panoptic", "semantic" or "instances"."""
    off: dict[str, Any] = {"panoptic": None, "segments": (), "instances": None, "semantic": None}
    on = {"panoptic": ("panoptic", "segments")}.get(task, (task,))
    return sample(**{key: value for key, value in off.items() if key not in on})
