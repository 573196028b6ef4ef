import logging

import pytest
import torch

from fcclip.modeling.deformable import MSDeformAttn, backends, native_backend, torch_backend
from fcclip.modeling.deformable.backends import check_backend, choose_backend, sampler

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _choose_anew():
    backends._best_backend.cache_clear()
    yield
    backends._best_backend.cache_clear()


def install(monkeypatch, *, native: bool, triton: bool, failure: str | None = None) -> None:
    monkeypatch.setattr(backends, "native_installed", lambda: native)
    monkeypatch.setattr(backends, "triton_installed", lambda: triton)
    if triton:
        pytest.importorskip("triton")
        from fcclip.modeling.deformable import triton_backend

        monkeypatch.setattr(triton_backend, "why_not", lambda device: failure)


@pytest.mark.parametrize(
    ("device", "native", "triton", "choice"),
    [
        (CPU, False, True, "torch"),
        (CPU, True, True, "native"),
        (GPU, True, True, "triton"),
        (GPU, True, False, "native"),
        (GPU, False, False, "torch"),
        (torch.device("mps"), True, False, "torch"),
    ],
)
def test_auto_goes_by_device_and_by_what_is_installed(monkeypatch, caplog, device, native, triton, choice) -> None:
    install(monkeypatch, native=native, triton=triton)
    with caplog.at_level(logging.INFO, logger="fcclip"):
        assert [choose_backend("auto", device) for _ in range(3)] == [choice] * 3
    assert [record.getMessage() for record in caplog.records] == [f"deformable attention on {device}: {choice}"]


def test_auto_passes_over_a_triton_that_does_not_work(monkeypatch, caplog) -> None:
    install(monkeypatch, native=False, triton=True, failure="RuntimeError: Failed to find C compiler")
    assert choose_backend("auto", GPU) == "torch"
    assert "Triton does not work on cuda:0 (RuntimeError: Failed to find C compiler)" in caplog.text


def test_a_named_backend_is_taken_as_it_is() -> None:
    assert [choose_backend(name, CPU) for name in ("torch", "native", "triton")] == ["torch", "native", "triton"]
    assert sampler("torch") is torch_backend.sample_torch
    assert sampler("native") is native_backend.sample_native


def test_unknown_and_missing_backends_are_errors(monkeypatch) -> None:
    install(monkeypatch, native=False, triton=False)
    with pytest.raises(ValueError, match='no deformable attention "cuda"; choose one of auto, torch, native, triton'):
        check_backend("cuda")
    with pytest.raises(ValueError, match="pip install torch-ms-deform-attn"):
        check_backend("native")
    with pytest.raises(ValueError, match='PyTorch 2.4 or later and Triton.*or choose "auto"'):
        MSDeformAttn(32, levels=1, heads=4, points=1, backend="triton")
