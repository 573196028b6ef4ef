import pytest
import torch

from fcclip.config import FAST_OPTIONS
from fcclip.speed.acceleration import accelerate
from tests.speed.models import IMAGE, seeded
from tests.tiny import tiny_cfg


def fast_cfg(kind: str, dtype: str = "bfloat16", channels_last: bool = True):
    return tiny_cfg(kind, MODEL__FC_CLIP__INFERENCE_DTYPE=dtype, MODEL__FC_CLIP__CHANNELS_LAST=channels_last)


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_half_precision_stays_near(kind: str) -> None:
    model = seeded(kind)
    exact = model([IMAGE])[0]["sem_seg"]
    accelerate(model, fast_cfg(kind))
    near = model([IMAGE])[0]["sem_seg"]
    assert near.dtype == torch.float32
    # Weights that were never trained pass small differences on: a tenth here. Broken arithmetic would be off by more.
    assert 0 < (near - exact).norm() < 0.15 * exact.norm()
    assert next(model.backbone.tower.convolutional_part[0].parameters()).dtype == torch.bfloat16
    assert model.backbone.clip_model.transformer.resblocks[0].mlp.c_fc.weight.dtype == torch.float32


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_another_memory_layout_changes_nothing(kind: str) -> None:
    model = seeded(kind)
    exact = model([IMAGE])[0]["sem_seg"]
    accelerate(model, fast_cfg(kind, "float32"))
    torch.testing.assert_close(model([IMAGE])[0]["sem_seg"], exact, atol=1e-4, rtol=1e-4)


def test_it_is_off_unless_asked_for() -> None:
    model = seeded("convnext")
    exact = model([IMAGE])[0]["sem_seg"]
    accelerate(model, tiny_cfg())
    assert torch.equal(model([IMAGE])[0]["sem_seg"], exact)


def test_the_fast_options_are_keys() -> None:
    cfg = tiny_cfg()
    cfg.merge_from_list(list(FAST_OPTIONS))
    assert cfg.MODEL.FC_CLIP.INFERENCE_DTYPE == "bfloat16"
    assert cfg.MODEL.FC_CLIP.CHANNELS_LAST


def test_mistakes_are_named() -> None:
    model = seeded("convnext")
    with pytest.raises(ValueError, match='INFERENCE_DTYPE is "fp8"; choose one of float32, bfloat16, float16'):
        accelerate(model, fast_cfg("convnext", "fp8"))
    with pytest.raises(ValueError, match="float16 is for GPUs"):
        accelerate(model, fast_cfg("convnext", "float16"))
    with pytest.raises(ValueError, match="Linear is no FC-CLIP"):
        accelerate(torch.nn.Linear(1, 1), fast_cfg("convnext"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_on_a_gpu(dtype: str) -> None:
    model = seeded("convnext").cuda()
    exact = model([IMAGE])[0]["sem_seg"]
    accelerate(model, fast_cfg("convnext", dtype))
    near = model([IMAGE])[0]["sem_seg"]
    assert near.isfinite().all()
    assert 0 < (near - exact).norm() < 0.15 * exact.norm()
