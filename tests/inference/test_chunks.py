"""The memory that a user grants to upsampled masks: kept to, and without influence on the results."""

from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fcclip import Vocabulary
from fcclip.config import chunk_bytes_of
from fcclip.inference.bands import bands
from fcclip.inference.instance import InstanceInference
from fcclip.inference.masks import MaskUpsampler, feed_bands
from fcclip.inference.panoptic import PanopticInference
from fcclip.inference.semantic import SemanticInference, resized_semantic_inference
from fcclip.inference.sliding import resize_scores, resized_labels
from fcclip.meta_arch.fcclip import FCCLIP
from tests.tiny import tiny_cfg, tiny_model
from tests.zero_shot import zero_shot_cfg

PADDED, IMAGE = (128, 192), (120, 180)
QUERIES, CLASSES = 30, 47
OUTPUTS = [(120, 180), (61, 80), (250, 301)]
ROW = 4 * 301 * CLASSES  # bytes of the scores of the longest row
CHUNKS = [1, 5 * ROW, 10**9]


class LargestFloats(TorchDispatchMode):
    """Records the bytes of the largest float tensor that is allocated; results are passed over by their shape."""

    def __init__(self, *results: tuple[int, ...]) -> None:
        super().__init__()
        self.bytes = 0
        self._results = results

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = (*args, *(kwargs or {}).values())  # among them "out"
        inputs = {x.untyped_storage().data_ptr() for x in given if isinstance(x, Tensor)}
        for x in out if isinstance(out, tuple | list) else [out]:
            is_new = isinstance(x, Tensor) and x.untyped_storage().data_ptr() not in inputs
            if is_new and x.is_floating_point() and tuple(x.shape) not in self._results:
                self.bytes = max(self.bytes, x.numel() * x.element_size())
        return out


def logits_and_masks() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    masks = 4 * torch.randn(QUERIES, PADDED[0] // 4, PADDED[1] // 4, generator=generator)
    return 4 * torch.randn(QUERIES, CLASSES + 1, generator=generator), masks


def infer(output: tuple[int, int], chunk_bytes: int) -> tuple[Tensor, ...]:
    """Semantic scores, panoptic map, instance masks and scores."""
    logits, masks = logits_and_masks()
    semantic = SemanticInference(logits, output, chunk_bytes)
    panoptic = PanopticInference(logits, output, range(0, CLASSES, 2), 0.0, 0.1)
    instance = InstanceInference(logits, output, 40)
    upsampler = MaskUpsampler(masks, PADDED, IMAGE, output)
    feed_bands(upsampler, [semantic, panoptic, instance], chunk_bytes)
    found = instance.result()
    return semantic.result(), panoptic.result()[0], found.pred_masks, found.scores, found.pred_boxes.tensor


@pytest.mark.parametrize("output", OUTPUTS)
def test_results_are_the_same_for_any_bound(output) -> None:
    expected = infer(output, 10**9)
    assert expected[1].unique().numel() > 3
    for chunk_bytes in CHUNKS[:2]:
        for one, other in zip(expected, infer(output, chunk_bytes), strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_bound_is_kept(output, chunk_bytes) -> None:
    infer(output, chunk_bytes)  # fills the cache of resize matrices
    with LargestFloats((CLASSES, *output)) as largest:
        infer(output, chunk_bytes)
    width = max(output[1], PADDED[1])
    inputs = 4 * QUERIES * PADDED[0] * PADDED[1] // 16  # the masks of the queries that are needed
    assert largest.bytes <= max(chunk_bytes, 4 * width * CLASSES, inputs)
    if chunk_bytes == CHUNKS[-1]:
        assert largest.bytes >= 4 * output[0] * output[1] * QUERIES, "the test sees the masks"


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_scores_resized_after_inference(output, chunk_bytes) -> None:
    logits, masks = logits_and_masks()
    upsampler = MaskUpsampler(masks, PADDED, IMAGE, IMAGE)
    expected = resized_semantic_inference(logits, upsampler, output, 10**9)
    with LargestFloats((CLASSES, *output)) as largest:
        scores = resized_semantic_inference(logits, upsampler, output, chunk_bytes)
    torch.testing.assert_close(scores, expected, atol=1e-6, rtol=1e-6)
    rows = -(-IMAGE[0] // output[0]) + 2  # that a row of the result is made of, at most
    assert largest.bytes <= max(chunk_bytes, 4 * max(output[1], PADDED[1]) * CLASSES * rows)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_scores_of_windows(output, chunk_bytes) -> None:
    scores = torch.randn(CLASSES, *IMAGE, generator=torch.Generator().manual_seed(0))
    resize_scores(scores, output, 10**9)
    with LargestFloats((CLASSES, *output)) as largest:
        resized = resize_scores(scores, output, chunk_bytes)
        labels = resized_labels(scores, output, chunk_bytes)
    torch.testing.assert_close(resized, resize_scores(scores, output, 10**9), atol=1e-6, rtol=1e-6)
    assert torch.equal(labels, resized.argmax(dim=0))
    assert largest.bytes <= max(chunk_bytes, 4 * max(output[1], IMAGE[1]) * CLASSES)


def test_one_row_is_the_least() -> None:
    assert list(bands((3, 1000), 250, 1)) == [(0, 1), (1, 2), (2, 3)]
    assert list(bands((3, 1000), 1, 8000)) == [(0, 2), (2, 3)]


@pytest.mark.parametrize("bound", [0, -5])
def test_a_bound_is_positive(bound: int) -> None:
    message = rf"MODEL\.FC_CLIP\.TEST_CHUNK_MB must be at least 1, not {bound}; 8 suits most machines"
    for cfg in (tiny_cfg(MODEL__FC_CLIP__TEST_CHUNK_MB=bound), zero_shot_cfg(MODEL__FC_CLIP__TEST_CHUNK_MB=bound)):
        with pytest.raises(ValueError, match=message):
            build_model(cfg)


def test_a_gpu_has_a_bound_of_its_own() -> None:
    cfg = tiny_cfg(MODEL__DEVICE="cuda:1", MODEL__FC_CLIP__TEST_CHUNK_MB=3)
    assert chunk_bytes_of(cfg) == 256 * 2**20
    cfg.MODEL.FC_CLIP.TEST_CHUNK_MB_GPU = 0
    with pytest.raises(ValueError, match=r"MODEL\.FC_CLIP\.TEST_CHUNK_MB_GPU must be at least 1, not 0; 256 suits"):
        chunk_bytes_of(cfg)


@pytest.fixture(scope="module")
def model() -> FCCLIP:
    model = tiny_model(MODEL__FC_CLIP__TEST_CHUNK_MB=3)
    model.set_vocabulary(Vocabulary.from_string("person; sky=stuff; traffic cone"))
    return model


@pytest.mark.parametrize("panoptic_and_instances", [True, False])
def test_models_keep_to_the_bound_of_their_configuration(model: FCCLIP, panoptic_and_instances: bool) -> None:
    assert model.chunk_bytes == 3 * 2**20
    model.panoptic_on = model.instance_on = panoptic_and_instances
    image = [{"image": torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255}]
    expected = model([{**image[0], "height": 250, "width": 300}])[0]
    model.chunk_bytes = 1
    with LargestFloats((3, 250, 300)) as largest:
        found = model([{**image[0], "height": 250, "width": 300}])[0]
    model.chunk_bytes = 3 * 2**20
    torch.testing.assert_close(found["sem_seg"], expected["sem_seg"], atol=1e-6, rtol=1e-6)
    assert largest.bytes < 4 * 20 * 250 * 300 // 4, "nothing holds the masks of 20 queries at all pixels"
