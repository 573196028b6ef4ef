"""A whole FC-CLIP of a few channels on the published COCO sample: all tasks and files, and death in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances
from PIL import Image

from fcclip.evaluation import evaluate, inference_folder
from tests.evaluation.instance_samples import coco_annotations
from tests.evaluation.panoptic_samples import COCO_SAMPLE, published
from tests.shared import needs_shared
from tests.tiny import tiny_cfg, tiny_model

DATASET = "openvocab_coco_2017_val_panoptic_with_sem_seg"
REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = needs_shared


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sample laid out as COCO is, with label maps and instances made from the panoptic files."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "val2017").symlink_to(COCO_SAMPLE / "images")
    (root / "panoptic_val2017").symlink_to(COCO_SAMPLE / "panoptic")
    (root / "annotations" / "panoptic_val2017.json").symlink_to(COCO_SAMPLE / "panoptic.json")
    truth = published()
    instances = coco_annotations(truth)
    for image in instances["images"]:
        image["file_name"] = f"{image['id']:012d}.jpg"
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(instances))
    contiguous = MetadataCatalog.get(DATASET).stuff_dataset_id_to_contiguous_id
    (root / "panoptic_semseg_val2017").mkdir()
    for picture in truth.pictures:
        labels = np.full(picture.ids.shape, 255, np.uint8)
        for segment in picture.segments:
            labels[picture.ids == segment["id"]] = contiguous[segment["category_id"]]
        Image.fromarray(labels).save(root / "panoptic_semseg_val2017" / f"{picture.image_id:012d}.png")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def config(root: Path) -> CfgNode:
    return tiny_cfg(
        OUTPUT_DIR=str(root / "output"),
        DATASETS__TEST=(DATASET,),
        MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.0,  # random masks win no region whole
        TEST__PANOPTIC_EXPORT=True,
        TEST__WORST_IMAGES=1,
    )


def test_all_tasks_and_files(coco: Path):
    panoptic_reference = pytest.importorskip("hotcoco.panoptic")
    cfg, model = config(coco), tiny_model()
    results = evaluate(model, cfg, DATASET)
    assert set(results) == {"panoptic_seg", "sem_seg", "segm", "bbox"}
    folder = inference_folder(cfg, DATASET)
    scorer = panoptic_reference.PanopticEval(
        str(COCO_SAMPLE / "panoptic.json"),
        str(folder / "panoptic_predictions.json"),
        gt_folder=str(COCO_SAMPLE / "panoptic"),
        pred_folder=str(folder / "panoptic_predictions"),
    )
    scorer.evaluate()
    assert scorer.results()["per_class"][1]["fn"] > 0
    for key in ("PQ", "SQ", "RQ"):
        assert results["panoptic_seg"][key] == pytest.approx(100 * scorer.results()["All"][key.lower()], abs=1e-9)
    assert {"results.json", "results.md", "per_class.csv", "worst_images.html"} <= {p.name for p in folder.iterdir()}
    # Nothing that evaluation leaves behind may keep the model from being trained.
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[:, 8:40, 8:40] = True
    target = Instances((64, 64), gt_classes=torch.tensor([3]), gt_masks=masks)
    losses = model.train()([{"image": torch.zeros(3, 64, 64), "instances": target}])
    sum(losses.values()).backward()


_DIE_AFTER_ONE_IMAGE = """
import os, signal
from pathlib import Path
from tests.integration.test_eval_whole_model import DATASET, config, evaluate, tiny_model

model, images = tiny_model(), []

def die(module, inputs):
    images.append(inputs)
    if len(images) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

model.register_forward_pre_hook(die)
evaluate(model, config(Path(os.environ["DETECTRON2_DATASETS"])), DATASET)
"""


def test_killed_evaluation_goes_on(coco: Path):
    environment = {**os.environ, "DETECTRON2_DATASETS": str(coco), "OMP_NUM_THREADS": "1"}
    dead = subprocess.run([sys.executable, "-c", _DIE_AFTER_ONE_IMAGE], env=environment, cwd=REPOSITORY, check=False)
    assert dead.returncode == -signal.SIGKILL
    cfg, model, seen = config(coco), tiny_model(), []
    model.register_forward_pre_hook(lambda _, inputs: seen.extend(sample["image_id"] for sample in inputs[0]))
    resumed = evaluate(model, cfg, DATASET)
    assert seen == [439180]
    cfg.OUTPUT_DIR = str(coco / "again")
    whole = evaluate(model, cfg, DATASET)
    for task, values in whole.items():
        assert resumed[task] == pytest.approx(values, nan_ok=True)
