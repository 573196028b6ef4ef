import pytest
import torch
from torch import Tensor

from fcclip import Vocabulary
from fcclip.modeling.decoded import Decoded
from fcclip.speed.acceleration import accelerate
from fcclip.speed.cuda_graphs import Function, GraphCache
from tests.speed.models import IMAGE, seeded
from tests.tiny import tiny_cfg

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
SMALL = {"image": IMAGE["image"][:, :40, :50]}


class FakeGraph:
    """Runs the function of the example's shape, as a graph does, and nothing else."""

    made: list[tuple[int, ...]]

    def __init__(self, function: Function, example: Tensor) -> None:
        self.function, self.shape = function, example.shape
        type(self).made.append(tuple(example.shape))

    def __call__(self, x: Tensor) -> Decoded:
        assert x.shape == self.shape
        return self.function(x)


@pytest.fixture(autouse=True)
def forget_graphs() -> None:
    FakeGraph.made = []


def test_a_shape_is_recorded_once() -> None:
    cache = GraphCache(lambda x: Decoded(*[x + 1] * 6), record=FakeGraph)
    for shape in ((1, 2), (2, 2), (1, 2), (2, 2)):
        assert torch.equal(cache(torch.zeros(shape)).features, torch.ones(shape))
    cache(torch.zeros(1, 2, dtype=torch.float64))
    assert FakeGraph.made == [(1, 2), (2, 2), (1, 2)]


def test_the_shape_not_used_for_longest_is_forgotten() -> None:
    cache = GraphCache(lambda x: Decoded(*[x] * 6), capacity=2, record=FakeGraph)
    for size in (1, 2, 1, 3, 1, 2):  # 3 takes the place of 2, then 2 that of 3
        cache(torch.zeros(size))
    assert FakeGraph.made == [(1,), (2,), (3,), (2,)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_replayed_model_follows_image_and_vocabulary(dtype: str) -> None:
    cfg = tiny_cfg(MODEL__FC_CLIP__INFERENCE_DTYPE=dtype)
    plain, replayed = seeded("convnext"), seeded("convnext")
    for model in (plain, replayed):
        accelerate(model, cfg)
    replayed.decode = GraphCache(replayed.decode, record=FakeGraph)
    for names in ("cat; dog,puppy", "person; sky=stuff; tree; road"):
        for batch in ([IMAGE], [SMALL], [IMAGE, SMALL]):
            results = []
            for model in (plain, replayed):
                model.set_vocabulary(Vocabulary.from_string(names))
                results.append(model(batch))
            for one, other in zip(*results, strict=True):
                assert torch.equal(one["sem_seg"], other["sem_seg"])
                assert torch.equal(one["panoptic_seg"][0], other["panoptic_seg"][0])
    assert FakeGraph.made == [(1, 3, 96, 128), (1, 3, 64, 64), (2, 3, 96, 128)]  # none for another vocabulary


def test_a_cpu_has_no_cuda_graphs() -> None:
    with pytest.raises(ValueError, match='CUDA graphs are for GPUs, not for "cpu"'):
        accelerate(seeded("convnext"), tiny_cfg(MODEL__FC_CLIP__CUDA_GRAPHS=True))


@needs_gpu
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_graphs_give_the_results_of_the_model(dtype: str) -> None:
    plain, graphs = seeded("convnext").cuda(), seeded("convnext").cuda()
    accelerate(plain, tiny_cfg(MODEL__FC_CLIP__INFERENCE_DTYPE=dtype))
    accelerate(graphs, tiny_cfg(MODEL__FC_CLIP__INFERENCE_DTYPE=dtype, MODEL__FC_CLIP__CUDA_GRAPHS=True))
    for names in ("cat; dog,puppy", "person; sky=stuff; tree; road"):
        for image in (IMAGE, SMALL, {"image": IMAGE["image"].flip(-1)}):
            for model in (plain, graphs):
                model.set_vocabulary(Vocabulary.from_string(names))
            with torch.inference_mode(mode=image is SMALL):
                found, expected = (model([image])[0]["sem_seg"] for model in (graphs, plain))
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
