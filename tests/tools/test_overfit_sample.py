"""Overfitting: the mask generator learns two images by heart, and the curve of it is drawn."""

import json

import pytest
from PIL import Image

from tests.engine.runs import train
from tests.engine.training import training_cfg
from tests.shared import SHARED, needs_shared
from tools import overfit_sample, plot_training

SAME_PIXELS_EVERY_STEP = {
    "INPUT__IMAGE_SIZE": 64,
    "INPUT__MIN_SCALE": 1.0,
    "INPUT__MAX_SCALE": 1.0,
    "INPUT__RANDOM_FLIP": "none",
    "INPUT__MIN_SIZE_TEST": 48,
    "INPUT__MAX_SIZE_TEST": 64,
    "MODEL__FC_CLIP__GEOMETRIC_ENSEMBLE_ALPHA": 0.0,
    "MODEL__FC_CLIP__GEOMETRIC_ENSEMBLE_BETA": 0.0,
}


def test_two_images_are_learned_by_heart(tmp_path, capsys):
    settings = {"SOLVER__MAX_ITER": 60, "SOLVER__STEPS": (50,), "SOLVER__CHECKPOINT_PERIOD": 60}
    cfg = training_cfg(tmp_path, sizes=[(48, 64)] * 2, **SAME_PIXELS_EVERY_STEP, **settings)
    losses = train(cfg)
    assert losses[59]["total_loss"] < 0.5 * losses[0]["total_loss"]
    metrics = [json.loads(line) for line in (tmp_path / "output" / "metrics.json").read_text().splitlines()]
    assert max(line.get("panoptic_seg/PQ", 0) for line in metrics) > 50

    picture = tmp_path / "curve.png"
    arguments = [cfg.OUTPUT_DIR, "--output", str(picture)]
    plot_training.main(arguments)
    assert Image.open(picture).size[0] > 500
    assert "panoptic_seg/PQ: " in capsys.readouterr().out


def test_a_folder_without_a_training_cannot_be_drawn(tmp_path, capsys):
    with pytest.raises(SystemExit):
        plot_training.main([str(tmp_path)])
    assert "is it the OUTPUT_DIR of a training?" in capsys.readouterr().err


@needs_shared
def test_the_tool_reads_the_sample_and_writes_its_config(tmp_path):
    data = SHARED / "data" / "coco_panoptic_sample"
    cfg = overfit_sample.build_cfg(data.resolve(), tmp_path, iterations=5)
    assert cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == 8, "the classes that the two images show"
    assert cfg.SOLVER.MAX_ITER == 5
    written = json.loads((tmp_path / "panoptic.json").read_text())
    assert {category["name"] for category in written["categories"]} >= {"person", "horse", "truck"}
