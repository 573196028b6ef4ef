"""The pictures to begin with hold what their names say."""

import numpy as np
import pytest

from fcclip.data.panoshapes import CLASSES, render_scene
from fcclip.serving.examples import EXAMPLES, SIZE, Example
from fcclip.vocabulary import Vocabulary


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_names_are_those_of_the_scene(example: Example) -> None:
    scene = render_scene(np.random.default_rng(example.seed), *SIZE)
    vocabulary = Vocabulary.from_string(example.names)
    there = {CLASSES[segment.category] for segment in scene.segments}
    assert {(entry.name, entry.is_thing) for entry in there} == {
        (category.name, category.is_thing) for category in vocabulary.categories
    }
    assert np.array_equal(example.render(), scene.image)
