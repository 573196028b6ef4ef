"""A tiny Cityscapes, drawn with the standard library's generator, whose stream never changes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from detectron2.structures import Instances
from PIL import Image

from fcclip.evaluation.metrics.cityscapes_labels import EVALUATED, THINGS, label_of_instance

SIZE = (64, 128)
TRAIN_ID = {label.id: index for index, label in enumerate(EVALUATED)}
# As the model's vocabulary has them: with synonyms, and not always the official name first.
CLASS_STRINGS = [
    f"{label.name},{label.name}s" if label.id % 2 else f"some {label.name},{label.name}" for label in EVALUATED
]


@dataclass
class Street:
    """One image: its file, its instance map, and what a model says about it (train ids)."""

    file_name: str
    instance_ids: np.ndarray
    sem_seg: torch.Tensor
    instances: Instances

    @property
    def record(self) -> dict[str, str]:
        return {"file_name": self.file_name}


def write_streets(folder: Path, images: int = 6, seed: int = 0) -> list[Street]:
    """Write `gt/CITY/*_gtFine_{instanceIds,labelIds}.png` below `folder`."""
    dice = random.Random(seed)
    streets = []
    for index in range(images):
        city = ("aachen", "ulm")[index % 2]
        frame = f"{city}_{index:06d}_000019"
        ids = _instance_map(dice)
        (folder / "gt" / city).mkdir(parents=True, exist_ok=True)
        Image.fromarray(ids.astype(np.uint16)).save(folder / "gt" / city / f"{frame}_gtFine_instanceIds.png")
        labels = label_of_instance(ids).astype(np.uint8)
        Image.fromarray(labels).save(folder / "gt" / city / f"{frame}_gtFine_labelIds.png")
        file_name = str(folder / "images" / city / f"{frame}_leftImg8bit.png")
        streets.append(Street(file_name, ids, _semantic(ids, dice), _instances(ids, dice)))
    return streets


def _rectangle(dice: random.Random) -> tuple[slice, slice]:
    top, left = int(dice.random() * SIZE[0]), int(dice.random() * SIZE[1])
    return slice(top, top + 4 + int(dice.random() * 22)), slice(left, left + 4 + int(dice.random() * 26))


def _instance_map(dice: random.Random) -> np.ndarray:
    """Stuff, void, groups, instances (large and below 100 pixels), and instances of labels that are not evaluated."""
    ids = np.full(SIZE, 7, np.int32)
    for number in range(30):
        kind = dice.random()
        thing = THINGS[int(dice.random() * 4)].id  # four of eight things, so that some class has no instance
        if kind < 0.2:
            value = int(dice.random() * 34)  # any label: stuff, void, group
        elif kind < 0.3:
            value = 29001
        else:
            value = 1000 * thing + number
        ids[_rectangle(dice)] = value
    return ids


def _semantic(ids: np.ndarray, dice: random.Random) -> torch.Tensor:
    labels = label_of_instance(ids)
    train_ids = np.vectorize(lambda label: TRAIN_ID.get(label, 0))(labels)
    for _ in range(10):
        train_ids[_rectangle(dice)] = int(dice.random() * 19)
    return torch.from_numpy(train_ids)


def _instances(ids: np.ndarray, dice: random.Random) -> Instances:
    masks, classes, scores = [], [], []
    for value in np.unique(ids):
        for _ in range(int(dice.random() * 3)):
            mask = np.roll(ids == value, (int(dice.random() * 4), int(dice.random() * 4)), (0, 1))
            label = int(label_of_instance(value))
            right = TRAIN_ID.get(label, 13)
            masks.append(mask)
            classes.append(right if dice.random() < 0.8 else int(dice.random() * 19))
            scores.append(round(dice.random(), 1))  # with ties
    masks.append(np.zeros(SIZE, bool))
    return Instances(
        SIZE,
        pred_masks=torch.from_numpy(np.stack(masks)).float(),
        pred_classes=torch.tensor([*classes, 13]),
        scores=torch.tensor([*scores, 0.5]),
    )
