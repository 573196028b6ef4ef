"""A tiny training: a dataset of a few made images, and the config of a tiny FC-CLIP that trains on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from PIL import Image

from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.files.panoptic import measure_segments, write_panoptic_json, write_panoptic_png
from tests.tiny import tiny_cfg

DATASET = "made_panoptic"
CATEGORIES = [
    {"id": 1, "name": "box", "isthing": 1},
    {"id": 4, "name": "ground", "isthing": 0},
    {"id": 9, "name": "sky", "isthing": 0},
]


def write_dataset(folder: Path, sizes: list[tuple[int, int]]) -> dict[str, str]:
    """Write images of (height, width): sky, ground and two boxes each; gives the entry of DATASETS.CUSTOM."""
    annotations, images = [], []
    for index, (height, width) in enumerate(sizes):
        rng = np.random.default_rng(index)
        ids = np.full((height, width), 300, dtype=np.int32)
        ids[height // 2 :] = 2
        for box in (10, 11):
            top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
            ids[top : top + height // 3, left : left + width // 3] = box
        categories = {300: 9, 2: 4, 10: 1, 11: 1}
        present = [{"id": i, "category_id": c} for i, c in categories.items() if (ids == i).any()]
        pixels = rng.integers(0, 60, (height, width, 3)) + (ids[..., None] * [17, 5, 40]) % 190
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{index}.jpg")
        write_panoptic_png(folder / "panoptic" / f"{index}.png", ids)
        segments = measure_segments(ids, present)
        annotations.append({"image_id": index, "file_name": f"{index}.png", "segments_info": segments})
        images.append({"id": index, "file_name": f"{index}.jpg", "height": height, "width": width})
    write_panoptic_json(folder / "panoptic.json", annotations, CATEGORIES, images)
    return {
        "NAME": DATASET,
        "FORMAT": "coco_panoptic",
        "IMAGES": str(folder / "images"),
        "PANOPTIC": str(folder / "panoptic"),
        "JSON": str(folder / "panoptic.json"),
    }


def training_cfg(folder: Path, sizes: list[tuple[int, int]] | None = None, **overrides: Any) -> CfgNode:
    """The config of a training in `folder`, its dataset written and registered."""
    entry = write_dataset(folder / "data", sizes or [(48, 64), (64, 48), (48, 64), (40, 64), (64, 40)])
    settings = {
        "DATASETS__CUSTOM": [entry],
        "DATASETS__TRAIN": (DATASET,),
        "DATASETS__TEST": (DATASET,),
        "MODEL__SEM_SEG_HEAD__NUM_CLASSES": len(CATEGORIES),
        "MODEL__MASK_FORMER__DEC_LAYERS": 2,
        "MODEL__MASK_FORMER__TEST__INSTANCE_ON": False,
        "MODEL__MASK_FORMER__TEST__SEMANTIC_ON": False,
        "INPUT__IMAGE_SIZE": 32,
        "INPUT__MIN_SIZE_TEST": 32,
        "INPUT__MAX_SIZE_TEST": 64,
        "SOLVER__IMS_PER_BATCH": 2,
        "SOLVER__BASE_LR": 1e-3,
        "SOLVER__AMP__ENABLED": False,
        "SOLVER__MAX_ITER": 8,
        "SOLVER__STEPS": (5,),
        "SOLVER__WARMUP_ITERS": 2,
        "SOLVER__CHECKPOINT_PERIOD": 3,
        "SOLVER__LOG_PERIOD": 2,
        "TEST__EVAL_PERIOD": 0,
        "SEED": 7,
        "OUTPUT_DIR": str(folder / "output"),
    }
    cfg = tiny_cfg(**{**settings, **overrides})
    register_custom_datasets(cfg)
    return cfg


def write_training_config(folder: Path, **overrides: Any) -> Path:
    """The same as a YAML file for a command."""
    path = folder / "config.yaml"
    path.write_text(training_cfg(folder, **overrides).dump())
    return path
