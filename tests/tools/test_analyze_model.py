"""The published costs, and the speed of a tiny model."""

import re

import pytest
from torch import nn

from fcclip.speed.analysis import count_macs, measure_fps
from tests.tiny import REPOSITORY
from tests.zero_shot import CLIP, zero_shot_model
from tools.analyze_model import main

CONFIGS = REPOSITORY / "configs" / "zero_shot"
TINY = [
    *("MODEL.FC_CLIP.CLIP_MODEL_NAME", str(CLIP), "MODEL.ZERO_SHOT.CROP_SIZE", "64", "MODEL.ZERO_SHOT.STRIDE", "48"),
    *("MODEL.ZERO_SHOT.DIM_FEEDFORWARD", "64", "INPUT.MIN_SIZE_TEST", "64", "MODEL.DEVICE", "cpu"),
]


def value(output: str, name: str) -> float:
    match = re.search(rf"{name} +([\d.,]+)", output)
    assert match is not None, output
    return float(match.group(1).replace(",", ""))


def test_costs_of_the_published_model(capsys) -> None:
    """ZegCLIP on COCO-Stuff: 14.65 M trainable parameters, 123.9 G."""
    arguments = ["--config-file", str(CONFIGS / "zegclip/coco_stuff_inductive.yaml"), "--opts", "MODEL.DEVICE", "cpu"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert value(output, "parameters, trainable") == 14_650_624
    assert value(output, "GMACs, published") == pytest.approx(123.94, abs=0.02)
    assert value(output, "GMACs, backbone") == pytest.approx(120.75, abs=0.01)


def test_attention_is_counted() -> None:
    """With twice as many prompts, the attention of every block grows by what its definition says."""
    few, many = (zero_shot_model(MODEL__ZERO_SHOT__NUM_PROMPTS=count).eval() for count in (5, 10))
    grown = count_macs(many, 128, 20)["backbone"] - count_macs(few, 128, 20)["backbone"]
    tokens = [1 + count + 64 for count in (5, 10)]
    width, blocks = 96, 12
    attention = 2 * width * (tokens[1] ** 2 - tokens[0] ** 2) * blocks
    linear = 5 * width * width * (12 * blocks) + 5 * width * width * blocks + 5 * width * 64
    norms = 5 * 5 * width * (2 * blocks + 2)
    assert grown == attention + linear + norms


def test_speed_on_made_images(capsys) -> None:
    arguments = ["--config-file", str(CONFIGS / "cascade_clip/voc12_inductive.yaml"), "--size", "64", "--fps"]
    arguments += ["--made-images", "50", "90", "--warmup", "1", "--images", "3", "--repeats", "2", "--opts", *TINY]
    assert main(arguments) == 0
    assert value(capsys.readouterr().out, "images/s") > 0


def test_warmup_does_not_count() -> None:
    calls: list[int] = []

    class Model(nn.Module):
        def forward(self, batch: list[int]) -> None:
            calls.extend(batch)

    assert measure_fps(Model(), ([index] for index in range(100)), warmup=3, images=7) > 0
    assert calls == list(range(7))
    with pytest.raises(ValueError, match="no more than the 9 images"):
        measure_fps(Model(), ([index] for index in range(5)), warmup=9, images=20)


def test_errors(capsys) -> None:
    assert main(["--config-file", "no.yaml"]) == 1
    assert "no.yaml" in capsys.readouterr().err
    with pytest.raises(ValueError, match="not for Linear"):
        count_macs(nn.Linear(1, 1), 64, 3)
