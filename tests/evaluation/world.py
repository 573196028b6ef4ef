"""A small registered dataset with panoptic, semantic and instance ground truth, and models that nearly know it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from PIL import Image
from torch import nn

from fcclip.config import get_cfg
from tests.evaluation.catalog import Register
from tests.evaluation.instance_samples import coco_annotations, write_json
from tests.evaluation.panoptic_samples import PanopticSet, Picture, relabelled, synthetic


@dataclass
class World:
    """A dataset on disk.

    Attributes:
        name: as registered.
        folder: where it lies.
        truth: its segments.
        contiguous: dataset id -> contiguous id of a class.
    """

    name: str
    folder: Path
    truth: PanopticSet
    contiguous: dict[int, int]

    @property
    def things(self) -> set[int]:
        return {category["id"] for category in self.truth.categories if category["isthing"]}

    def cfg(self, **test: Any) -> CfgNode:
        """All three tasks on; `test` are keys of TEST."""
        cfg = get_cfg()
        cfg.OUTPUT_DIR = str(self.folder / "output")
        cfg.DATASETS.TEST = (self.name,)
        cfg.DATALOADER.NUM_WORKERS = 0
        cfg.MODEL.MASK_FORMER.TEST.PANOPTIC_ON = cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON = True
        cfg.INPUT.MIN_SIZE_TEST = 32
        for key, value in {"PLOTS": False, **test}.items():
            cfg.TEST[key] = value
        return cfg


def make_world(register: Register, folder: Path, images: int = 5, **metadata: Any) -> World:
    """Write and register a dataset of class strings with synonyms; every image is of another size."""
    truth = synthetic(0, images)
    for index, picture in enumerate(truth.pictures):
        rows = 40 - 2 * index
        truth.pictures[index] = Picture(picture.image_id, picture.ids[:rows], picture.segments).kept()
    contiguous = {category["id"]: index for index, category in enumerate(truth.categories)}
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    records = []
    for picture in truth.pictures:
        image, labels = folder / "images" / f"{picture.image_id}.png", folder / "labels" / f"{picture.image_id}.png"
        Image.fromarray((picture.ids[..., None] >> np.array([0, 8, 16])).astype(np.uint8)).save(image)
        Image.fromarray(class_map(picture, contiguous, 255).astype(np.uint8)).save(labels)
        records.append({"file_name": str(image), "image_id": picture.image_id, "sem_seg_file_name": str(labels)})
    things = {category["id"] for category in truth.categories if category["isthing"]}
    defaults = {
        "evaluator_type": "coco_panoptic_seg",
        "ignore_label": 255,
        "stuff_classes": [f"{category['name']},{category['name']}s" for category in truth.categories],
        "thing_classes": [category["name"] for category in truth.categories if category["isthing"]],
        "stuff_dataset_id_to_contiguous_id": contiguous,
        "thing_dataset_id_to_contiguous_id": {id_: index for id_, index in contiguous.items() if id_ in things},
        "panoptic_json": str(truth.write(folder / "panoptic")),
        "panoptic_root": str(folder / "panoptic"),
        "json_file": write_json(folder / "instances.json", coco_annotations(truth)),
    }
    return World(register(records, **{**defaults, **metadata}), folder, truth, contiguous)


def class_map(picture: Picture, contiguous: dict[int, int], fill: int) -> np.ndarray:
    labels = np.full(picture.ids.shape, fill)
    for segment in picture.segments:
        labels[picture.ids == segment["id"]] = contiguous[segment["category_id"]]
    return labels


class Oracle(nn.Module):
    """Returns the ground truth after `change`; it can be told to fail, as a process does that is killed.

    Attributes:
        seen: image ids, in the order in which they came.
        vocabularies: names of the datasets whose metadata it was given.
    """

    def __init__(self, *worlds: World, change: Callable[..., Picture] = relabelled, fail_at: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.gives_labels = False
        self.worlds = {world.name: world for world in worlds}
        self.change = change
        self.fail_at = fail_at
        self.seen: list[int] = []
        self.vocabularies: list[str] = []

    def set_metadata(self, metadata: Any) -> None:
        self.vocabularies.append(metadata.name)

    @contextmanager
    def labels_only(self) -> Iterator[None]:
        self.gives_labels = True
        yield
        self.gives_labels = False

    def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.training or torch.is_grad_enabled():
            raise RuntimeError("evaluated in training mode or with gradients")
        return [self._output(sample) for sample in batch]

    def _output(self, sample: dict[str, Any]) -> dict[str, Any]:
        if self.fail_at is not None and len(self.seen) == self.fail_at:
            raise KeyboardInterrupt
        world = self.worlds[self.vocabularies[-1]]
        prediction = world.truth.perturbed(self.change)
        picture = next(p for p in prediction.pictures if p.image_id == sample["image_id"])
        if picture.ids.shape != (sample["height"], sample["width"]):
            raise RuntimeError("the sample does not say the size of the image")
        self.seen.append(picture.image_id)
        labels = torch.from_numpy(class_map(picture, world.contiguous, 0))
        scores = nn.functional.one_hot(labels, len(world.contiguous)).permute(2, 0, 1).float()
        return {
            "sem_seg": labels if self.gives_labels else scores,
            "panoptic_seg": (torch.from_numpy(picture.ids), self._segments(picture, world)),
            "instances": self._instances(picture, world),
        }

    @staticmethod
    def _segments(picture: Picture, world: World) -> list[dict[str, Any]]:
        return [
            {
                "id": segment["id"],
                "category_id": world.contiguous[segment["category_id"]],
                "isthing": segment["category_id"] in world.things,
            }
            for segment in picture.segments
        ]

    @staticmethod
    def _instances(picture: Picture, world: World) -> Instances:
        things = [segment for segment in picture.segments if segment["category_id"] in world.things]
        masks = [torch.from_numpy(picture.ids == segment["id"]) for segment in things]
        return Instances(
            picture.ids.shape,
            pred_masks=torch.stack(masks) if masks else torch.zeros(0, *picture.ids.shape),
            scores=torch.linspace(0.9, 0.1, len(things)),
            pred_classes=torch.tensor([world.contiguous[s["category_id"]] for s in things], dtype=torch.long),
        )
