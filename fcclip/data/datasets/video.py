"""Video datasets by the names of DVIS_Plus: VIPSeg, VSPW, YouTube-VIS, OVIS, LV-VIS, and COCO as their training set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fcclip.data.datasets.layouts import PanopticLayout
from fcclip.data.datasets.registry import DatasetSpec, dataset_root, register
from fcclip.data.datasets.tables import (
    category_table,
    instance_table_metadata,
    panoptic_table_metadata,
    semantic_table_metadata,
)
from fcclip.data.datasets.video_layouts import (
    VideoInstanceLayout,
    VideoPanopticLayout,
    VideoSemanticLayout,
    read_youtube_vis_json,
)

SPLITS = ("train", "val", "test")
VIPSEG_SIZES = {"train": 2806, "val": 343, "test": 387}
LV_VIS_JSON = "lsvis/train_instances_.json"
_FOLDERS = {"train": "train", "val": "valid", "test": "test"}
_SEE_README = "Download it as datasets/README.md says"


def register_all() -> None:
    """Register every video dataset, with "_ov" at the end of its name and without."""
    for split in SPLITS:
        _register_vipseg(split)
        _register_vspw(split)
        for year in ("2019", "2021"):
            folder = f"ytvis_{year}/{_FOLDERS[split]}"
            classes = partial(instance_table_metadata, f"youtube_vis_{year}")
            _register_instances(f"ytvis_{year}_{split}", classes, f"{folder}/JPEGImages", f"{folder}.json")
        annotations = f"ovis/annotations/annotations_{_FOLDERS[split]}.json"
        _register_instances(
            f"ovis_{split}", partial(instance_table_metadata, "ovis"), f"ovis/{_FOLDERS[split]}", annotations
        )
    # The classes of 2023 are those of 2021.
    newer = partial(instance_table_metadata, "youtube_vis_2021")
    _register_instances("ytvis_2023_val", newer, "ytvis_2023/valid/JPEGImages", "ytvis_2023/valid/instances.json")
    _register_instances("lsvis_train", lv_vis_classes, "lsvis/train/JPEGImages", LV_VIS_JSON)
    _register_coco()


def lv_vis_classes() -> dict[str, Any]:
    """Class metadata of LV-VIS, read from its annotations, which name 1,196 classes.

    Raises:
        FileNotFoundError, ValueError: they are not there, or not in their format.
    """
    categories = read_youtube_vis_json(dataset_root() / LV_VIS_JSON)["categories"]
    colors = category_table("coco_panoptic").colors
    return {
        "thing_classes": [category["name"].replace("_", " ") for category in categories],
        "thing_colors": [list(colors[index % len(colors)]) for index in range(len(categories))],
        "thing_dataset_id_to_contiguous_id": {category["id"]: index for index, category in enumerate(categories)},
    }


def _register(spec: Callable[[str], DatasetSpec], name: str) -> None:
    for suffix in ("_ov", ""):
        register(spec(name + suffix))


def _register_vipseg(split: str) -> None:
    layout = VideoPanopticLayout(
        images="VIPSeg/VIPSeg_720P/images",
        panoptic="VIPSeg/VIPSeg_720P/panomasksRGB",
        panoptic_json=f"VIPSeg/VIPSeg_720P/panoptic_gt_VIPSeg_{split}.json",
    )
    spec = partial(
        DatasetSpec,
        classes=partial(panoptic_table_metadata, "vipseg"),
        constants={"evaluator_type": "video_panoptic", "ignore_label": 255},
        layout=layout,
        how_to_get=f"{_SEE_README}, then run `python datasets/prepare_vipseg.py`.",
        sizes=(VIPSEG_SIZES[split],),
    )
    _register(spec, f"panoVSPW_vps_video_{split}")


def _register_vspw(split: str) -> None:
    spec = partial(
        DatasetSpec,
        classes=partial(semantic_table_metadata, "vipseg"),
        constants={"evaluator_type": "video_semantic", "ignore_label": 255},
        layout=VideoSemanticLayout("VSPW_480p/data", f"VSPW_480p/{split}.txt"),
        how_to_get=f"{_SEE_README}; it needs no preparation.",
    )
    _register(spec, f"VSPW_vss_video_{split}")


def _register_instances(name: str, classes: Callable[[], dict[str, Any]], images: str, json_file: str) -> None:
    spec = partial(
        DatasetSpec,
        classes=classes,
        constants={"evaluator_type": "video_instance"},
        layout=VideoInstanceLayout(images, json_file),
        how_to_get=f"{_SEE_README}; it needs no preparation.",
    )
    _register(spec, name)


def _register_coco() -> None:
    """The images that open-vocabulary video models are trained on; named in their files for its classes."""
    spec = partial(
        DatasetSpec,
        classes=partial(panoptic_table_metadata, "coco_panoptic"),
        constants={"evaluator_type": "coco_panoptic_seg", "ignore_label": 255, "label_divisor": 1000},
        layout=PanopticLayout(
            images="coco/train2017",
            panoptic="coco/panoptic_train2017",
            panoptic_json="coco/annotations/panoptic_train2017.json",
            integer_ids=True,
        ),
        how_to_get=f"{_SEE_README}.",
        sizes=(118287,),
    )
    _register(spec, "coco_panoptic_video")


register_all()
