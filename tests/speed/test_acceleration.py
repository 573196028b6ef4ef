import pytest
import torch

from fcclip.config import fast_options
from fcclip.files import processor
from fcclip.speed.acceleration import accelerate
from fcclip.speed.eight_bits import Int8Linear
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


@pytest.mark.parametrize(
    ("device", "half", "eight", "expected"),
    [
        ("cuda:0", False, True, "bfloat16"),
        ("cpu", True, True, "bfloat16"),
        ("cpu", False, True, "int8"),
        ("cpu", False, False, "float32"),
    ],
)
def test_the_fast_options_are_keys(
    monkeypatch: pytest.MonkeyPatch, device: str, half: bool, eight: bool, expected: str
) -> None:
    monkeypatch.setattr("fcclip.config.multiplies_in_half", lambda: half)
    monkeypatch.setattr("fcclip.config.multiplies_in_8_bits", lambda: eight)
    cfg = tiny_cfg()
    cfg.merge_from_list(list(fast_options(device)))
    assert expected == cfg.MODEL.FC_CLIP.INFERENCE_DTYPE
    assert cfg.MODEL.FC_CLIP.CHANNELS_LAST


@pytest.mark.skipif(not processor.multiplies_in_8_bits(), reason="needs a processor with AVX-512 VNNI")
@pytest.mark.parametrize("compiled", [False, True])
def test_8_bits_stay_near(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = seeded("convnext")
    exact = model([IMAGE])[0]["sem_seg"]
    parts: list[bool] = []
    monkeypatch.setattr("fcclip.speed.acceleration.compile_parts", lambda model, with_tower: parts.append(with_tower))
    accelerate(model, tiny_cfg(MODEL__FC_CLIP__INFERENCE_DTYPE="int8", MODEL__FC_CLIP__COMPILE=compiled))
    near = model([IMAGE])[0]["sem_seg"]
    assert 0 < (near - exact).norm() < 0.15 * exact.norm()
    assert isinstance(model.backbone.clip_model.visual.trunk.stages[2].blocks[0].mlp.fc2, Int8Linear)
    assert parts == [False] * compiled


@pytest.mark.skipif(not processor.multiplies_in_8_bits(), reason="needs a processor with AVX-512 VNNI")
def test_a_linear_layer_in_8_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(48, 20)
    x = torch.randn(7, 5, 48, generator=generator)
    exact, near = linear(x), Int8Linear(linear)(x)
    assert near.shape == exact.shape
    assert 0 < (near - exact).norm() < 0.02 * exact.norm()


@pytest.mark.skipif(not processor.multiplies_in_8_bits(), reason="needs a processor with AVX-512 VNNI")
def test_nobody_is_warned_of_what_pytorch_deprecates(recwarn: pytest.WarningsRecorder) -> None:
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        Int8Linear(torch.nn.Linear(4, 4))
    finally:
        torch.set_warn_always(always)
    assert not recwarn.list


@pytest.mark.skipif(not processor.multiplies_in_8_bits(), reason="needs a processor with AVX-512 VNNI")
def test_a_convolution_of_single_pixels_in_8_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Conv2d(48, 20, 1)
    x = torch.randn(2, 48, 5, 7, generator=generator)
    exact, near = layer(x), Int8Linear(layer)(x)
    assert near.shape == exact.shape
    assert 0 < (near - exact).norm() < 0.02 * exact.norm()


def test_8_bits_of_a_processor_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcclip.speed.eight_bits.multiplies_in_8_bits", lambda: False)
    with pytest.raises(ValueError, match="8 bits are for CPUs with AVX-512 VNNI"):
        accelerate(seeded("convnext"), fast_cfg("convnext", "int8"))


def test_8_bits_leave_a_resnet_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("fcclip.speed.eight_bits.multiplies_in_8_bits", lambda: True)
    model = seeded("resnet")
    exact = model([IMAGE])[0]["sem_seg"]
    accelerate(model, fast_cfg("resnet", "int8", channels_last=False))
    torch.testing.assert_close(model([IMAGE])[0]["sem_seg"], exact, atol=1e-4, rtol=1e-4)
    assert "has no linear layers" in caplog.text


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
