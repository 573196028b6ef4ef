"""The cache of text embeddings knows with which prompts and weights they were made."""

import pytest
import torch

from fcclip.text import TEMPLATES
from tests.zero_shot import zero_shot_model


@pytest.fixture
def backbone(tmp_path, monkeypatch):
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    found = zero_shot_model().backbone
    found.weights_source = "somewhere"
    return found


def test_prompts_are_told_apart(backbone) -> None:
    single, many = (backbone.name_embedder(True, templates) for templates in (("a photo of a {}",), TEMPLATES))
    first, second = single.embed(["cat"]), many.embed(["cat"])
    assert not torch.equal(first, second)
    fresh = backbone.name_embedder(True, TEMPLATES)
    assert torch.equal(fresh.embed(["cat"]), second)


def test_other_weights_are_told_apart(backbone) -> None:
    first = backbone.name_embedder(True).embed(["cat"])
    changed = zero_shot_model(seed=1).backbone.state_dict()
    backbone.load_state_dict(changed)
    assert not torch.equal(backbone.name_embedder(True).embed(["cat"]), first)


def test_random_weights_leave_no_trace(backbone, tmp_path) -> None:
    backbone.weights_source = None
    backbone.name_embedder(True).embed(["cat"])
    assert list(tmp_path.iterdir()) == []
