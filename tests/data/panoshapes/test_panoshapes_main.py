from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.data.panoshapes import CLASSES, render_scene
from fcclip.data.panoshapes.__main__ import main
from fcclip.vocabulary import Vocabulary


def test_the_command_writes_the_scene_and_names_its_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main([str(tmp_path / "scene.png"), "--seed", "4", "--width", "160", "--height", "96"])
    scene = render_scene(np.random.default_rng(4), 96, 160)
    with Image.open(tmp_path / "scene.png") as image:
        assert np.array_equal(np.asarray(image), scene.image)
    vocabulary = Vocabulary.from_string(capsys.readouterr().out)
    expected = {CLASSES[segment.category].name for segment in scene.segments}
    assert {category.name for category in vocabulary.categories} == expected
    things = {category.name for category in vocabulary.categories if category.is_thing}
    assert things == {entry.name for entry in CLASSES if entry.is_thing and entry.name in expected}
