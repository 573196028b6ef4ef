"""The shipped PanoShapes model still reaches the quality that was measured when it was packed."""

import json
from pathlib import Path

import pytest

from fcclip.data.panoshapes.dataset import SPLITS
from fcclip.segmenter import Segmenter
from fcclip.zoo import SHIPPED
from tools.pack_panoshapes import QUALITY, measure

FOLDER = SHIPPED / "panoshapes"
TOLERANCE = 0.5  # points of PQ

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the weights are not in this checkout")


def test_the_shipped_weights_reach_their_pq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    stated = json.loads((FOLDER / QUALITY).read_text())
    assert measure(FOLDER) == {key: pytest.approx(stated[key], abs=TOLERANCE) for key in ("PQ", "PQ_seen", "PQ_unseen")}


def test_the_segmenter_finds_them_by_name():
    split = SPLITS["mini_all"]
    segmenter = Segmenter.from_pretrained("panoshapes", device="cpu")
    segmenter.set_vocabulary([entry.name if entry.is_thing else f"{entry.name}=stuff" for entry in split.classes])
    assert segmenter.predict(split.scene(0).image).segments
