from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tools import draw_systems


def test_the_scene_and_every_model_get_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grey = {"panoshapes": 50, "zegclip_small": 100, "cascade_clip_small": 150}

    def from_pretrained(name: str, device: str) -> SimpleNamespace:
        def predict(image: np.ndarray) -> SimpleNamespace:
            return SimpleNamespace(draw=lambda: np.full_like(image, grey[name]))

        return SimpleNamespace(set_vocabulary=lambda names: None, predict=predict)

    monkeypatch.setattr(draw_systems.Segmenter, "from_pretrained", from_pretrained)
    draw_systems.main([str(tmp_path / "systems.png"), "--enlarge", "1"])
    picture = np.array(Image.open(tmp_path / "systems.png").convert("RGB"))
    assert picture.shape == (256 + draw_systems.TITLE, 4 * 256 + 3 * draw_systems.GAP, 3)
    columns = [number * (256 + draw_systems.GAP) + 100 for number in range(4)]
    assert picture[draw_systems.TITLE + 100, columns[1:], 0].tolist() == [50, 100, 150]
    assert picture[draw_systems.TITLE :, : columns[0]].std() > 1  # the scene
