"""A script in the style of the published train_net.py trains and evaluates with the names that `fcclip` offers."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from fcclip.files.images import read_image
from tests.engine.training import DATASET, write_training_config
from tests.evaluation.instance_samples import rle
from tests.integration import published_style

INSTANCES = "made_instances"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """A training of two steps, its dataset with instance annotations."""
    path = write_training_config(
        tmp_path,
        SOLVER__MAX_ITER=2,
        SOLVER__STEPS=(1,),
        DATASETS__TEST=(INSTANCES,),
        MODEL__MASK_FORMER__TEST__INSTANCE_ON=True,
        MODEL__MASK_FORMER__TEST__SEMANTIC_ON=True,
        TEST__AUG__ENABLED=True,
        TEST__AUG__MIN_SIZES=(32, 40),
        TEST__AUG__MAX_SIZE=64,
    )
    records = DatasetCatalog.get(DATASET)
    instances = tmp_path / "instances.json"
    instances.write_text(json.dumps(coco_instances(records)))
    metadata = MetadataCatalog.get(DATASET).as_dict()
    DatasetCatalog.register(INSTANCES, lambda: records)
    MetadataCatalog.get(INSTANCES).set(**{**metadata, "name": INSTANCES, "json_file": str(instances)})
    yield path
    for catalog in (DatasetCatalog, MetadataCatalog):
        catalog.pop(INSTANCES)


def coco_instances(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The boxes of the made images in COCO's format of instances."""
    annotations, images = [], []
    for record in records:
        pixels = read_image(record["pan_seg_file_name"]).astype(np.int64)
        ids = pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
        images.append({"id": record["image_id"], "height": ids.shape[0], "width": ids.shape[1]})
        for segment in record["segments_info"]:
            if segment["isthing"]:
                mask = ids == segment["id"]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": record["image_id"],
                        "category_id": 1,
                        "segmentation": rle(mask),
                        "area": int(mask.sum()),
                        "bbox": segment["bbox"],
                        "iscrowd": 0,
                    }
                )
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "box"}]}


def test_a_training_script_of_the_published_style(config: Path) -> None:
    args = argparse.Namespace(config_file=str(config), opts=[], resume=False, eval_only=False)
    results = published_style.main(args)
    output = config.parent / "output"
    assert (output / "model_final.pth").is_file()
    for task in ("segm", "bbox", "segm_TTA"):
        assert 0 <= results[task]["AP"] <= 100
    detections = json.loads((output / "inference" / "instance_predictions.json").read_text())
    assert {detection["category_id"] for detection in detections} == {1}
    assert (output / "tta" / "instance_predictions.json").is_file()
