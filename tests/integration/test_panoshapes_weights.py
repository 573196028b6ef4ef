"""The shipped PanoShapes models still reach the quality that was measured when they were packed."""

import json
from pathlib import Path

import numpy as np
import pytest

from fcclip.data.panoshapes.dataset import SPLITS, label_map
from fcclip.segmenter import Segmenter
from fcclip.zoo import SHIPPED
from tools.pack_panoshapes import MODELS, QUALITY, measure

TOLERANCE = 0.5  # points of each metric


@pytest.mark.parametrize("name", MODELS)
def test_the_shipped_weights_reach_their_quality(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    stated = json.loads((SHIPPED / name / QUALITY).read_text())
    expected = {key: pytest.approx(stated[key], abs=TOLERANCE) for key in MODELS[name].metrics}
    assert measure(name, SHIPPED / name) == expected


@pytest.mark.parametrize("name", MODELS)
def test_the_segmenter_finds_them_by_name(name: str):
    split = SPLITS[MODELS[name].dataset.removeprefix("panoshapes_").removesuffix("_panoptic")]
    segmenter = Segmenter.from_pretrained(name, device="cpu")
    segmenter.set_vocabulary([entry.name if entry.is_thing else f"{entry.name}=stuff" for entry in split.classes])
    scene = split.scene(0)
    result = segmenter.predict(scene.image)
    assert result.semantic is not None
    assert np.mean(result.semantic == label_map(scene)) > 0.5
