"""The exported model joins its two classifiers as the model does."""

import numpy as np
import pytest
import torch

from fcclip.export.classes import Classes, TextRows
from fcclip.export.manifest import QuerySettings
from fcclip.export.systems import QuerySystem
from fcclip.modeling.classification import geometric_ensemble
from fcclip.vocabulary import Vocabulary


@pytest.mark.parametrize("clip_trust", [0.0, 0.5])
def test_the_ensemble_is_that_of_the_model(clip_trust: float) -> None:
    rng = np.random.default_rng(0)
    rows, void, masks, clips = (rng.normal(size=(count, 8)).astype(np.float32) for count in (3, 1, 6, 6))
    rows, void = (values / np.linalg.norm(values, axis=-1, keepdims=True) for values in (rows, void))
    numbers = dict.fromkeys(QuerySettings.__dataclass_fields__, 0.0)
    numbers |= {"logit_scale": 9.0, "clip_logit_scale": 5.0, "alpha": 0.4, "beta": 0.8, "void_epsilon": 1e-8}
    settings = QuerySettings(**{**numbers, "clip_trust": clip_trust})  # type: ignore[arg-type]
    system = QuerySystem(lambda inputs: {}, settings, void, 32)  # type: ignore[arg-type]
    seen = np.array([True, False, True])
    classes = Classes(Vocabulary.of("cat; dog; sky=stuff"), TextRows.build(rows, [0, 1, 2]), seen)
    encoded = {"mask_embeddings": masks, "clip_embeddings": clips}
    in_vocab, out_vocab = system._classify_apart(encoded, classes.text)
    exponents = torch.from_numpy(np.where(seen, 0.4, 0.8).astype(np.float32))
    expected = geometric_ensemble(torch.from_numpy(in_vocab), torch.from_numpy(out_vocab), exponents, clip_trust)
    np.testing.assert_allclose(system._classify(encoded, classes), expected.numpy(), atol=1e-5)
