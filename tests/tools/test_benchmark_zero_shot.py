from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from fcclip.meta_arch.two_stage import crop_masks
from tests.tiny import write_tiny_config
from tests.zero_shot import zero_shot_cfg
from tools import benchmark_zero_shot
from tools.benchmark_zero_shot import build, measure


@pytest.fixture
def configs(tmp_path: Path) -> tuple[Path, Path]:
    one = tmp_path / "one.yaml"
    one.write_text(zero_shot_cfg().dump())
    return one, write_tiny_config(tmp_path)


@torch.no_grad()
def test_two_stages_name_the_crop_of_every_mask(configs: tuple[Path, Path]) -> None:
    one, two = build(*configs, queries=4, crop_side=32)
    images = torch.randn(1, 3, 64, 64)
    text = F.normalize(torch.randn(3, one.backbone.dim_latent), dim=-1)
    scores = two(images, text)
    assert scores.shape == (1, 3, 64, 64)
    masks = F.interpolate(
        two.generator.decode(images).mask_logits, size=(64, 64), mode="bilinear", align_corners=False
    )[0]
    assert len(masks) == 4
    expected = torch.zeros(3, 64, 64)
    for mask in masks:
        crop = crop_masks(images[0], mask[None] > 0, 32)
        likely = (100 * F.normalize(two.visual(crop), dim=-1) @ text.T).softmax(dim=-1)[0]
        expected += likely[:, None, None] * mask.sigmoid()
    assert torch.allclose(scores[0], expected, atol=1e-4)


def test_both_are_timed_in_turns(configs: tuple[Path, Path]) -> None:
    timings = measure(*configs, side=64, classes=3, queries=4, repeats=2, crop_side=32)
    assert [len(timing.total) for timing in timings.values()] == [2, 2]
    assert len(timings["two stages"].parts["masks alone"]) == 2


def test_the_command(
    configs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, masks = map(str, configs)
    words = ["--config-file", one, "--masks", masks, "--size", "64", "--classes", "3", "--queries", "4", "--crop", "32"]
    monkeypatch.setattr("sys.argv", ["benchmark_zero_shot.py", *words])
    benchmark_zero_shot.main()
    assert "two stages" in capsys.readouterr().out
