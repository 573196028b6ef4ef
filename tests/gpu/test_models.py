"""The network of every architecture gives on the GPU what it gives on the CPU."""

from typing import Any

import pytest
import torch

from fcclip import Vocabulary
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.speed.acceleration import accelerate
from tests.speed.models import IMAGE, seeded
from tests.tiny import tiny_cfg
from tests.zero_shot import zero_shot_model

OTHER = {"image": IMAGE["image"].flip(-1)[:, :40]}
ADAPTER = {"MODEL__MASK_ADAPTER__NAME": "MASKAdapterHead", "MODEL__MASK_ADAPTER__NUM_CHANNELS": 16}
FAMILY: dict[str, dict[str, Any]] = {
    "fcclip": {},
    "mask adapter": ADAPTER,
    "maft+": {"MODEL__META_ARCHITECTURE": "MAFT_Plus", "MODEL__cdt_params": [32, 4]},
    "ovrcoat": {"MODEL__META_ARCHITECTURE": "OVRCOAT", "MODEL__OVRCOAT__CLIP_TRUST_WEIGHT": 0.5},
    "two-stage": {"MODEL__META_ARCHITECTURE": "TwoStage"},
}


def on(device: str, kind: str = "convnext", **overrides: Any) -> FCCLIP:
    return seeded(kind, **overrides).to(device)


def assert_alike(one: Any, other: Any, tolerance: float = 1e-4) -> None:
    """Two models give the same scores for two images, each alone and in a batch."""
    for batch in ([IMAGE], [OTHER], [IMAGE, OTHER]):
        with torch.inference_mode():
            pairs = zip(one(batch), other(batch), strict=True)
        for mine, theirs in pairs:
            scores, expected = mine["sem_seg"].cpu(), theirs["sem_seg"].cpu()
            torch.testing.assert_close(scores, expected, atol=tolerance * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("name", FAMILY)
def test_architectures(name: str) -> None:
    # A pixel whose mask logit is next to zero changes the crop that the two-stage model looks at.
    tolerance = 0.02 if name == "two-stage" else 1e-4
    assert_alike(on("cuda", **FAMILY[name]), on("cpu", **FAMILY[name]), tolerance)


def test_resnet() -> None:
    assert_alike(on("cuda", "resnet"), on("cpu", "resnet"))


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_deformable_attention(backend: str) -> None:
    key = {"MODEL__SEM_SEG_HEAD__DEFORMABLE_ATTENTION": backend}
    assert_alike(on("cuda", **key), on("cpu"))


@pytest.mark.parametrize("architecture", ["ZegCLIP", "CascadeCLIP", "DenseCLIP"])
def test_zero_shot(architecture: str) -> None:
    on_gpu = zero_shot_model(architecture).to("cuda")
    assert_alike(on_gpu, zero_shot_model(architecture))


@pytest.mark.parametrize("name", ["fcclip", "mask adapter", "ovrcoat"])
@pytest.mark.parametrize("key", ["COMPILE", "CUDA_GRAPHS"])
def test_code_and_graphs(name: str, key: str) -> None:
    plain, fast = (on("cuda", **FAMILY[name]) for _ in range(2))
    accelerate(fast, tiny_cfg(**FAMILY[name], **{f"MODEL__FC_CLIP__{key}": True}))
    assert_alike(fast, plain)


def test_compiled_graphs_in_half_precision() -> None:
    plain, fast = on("cuda"), on("cuda")
    keys = {"INFERENCE_DTYPE": "bfloat16", "CHANNELS_LAST": True, "COMPILE": True, "CUDA_GRAPHS": True}
    accelerate(fast, tiny_cfg(**{f"MODEL__FC_CLIP__{key}": value for key, value in keys.items()}))
    assert_alike(fast, plain, tolerance=0.15)


def test_names_are_embedded_alike() -> None:
    names = ["cat", "a traffic cone", "sky"]
    gpu, cpu = (on(device).vocabularies.encode(Vocabulary.of(names)).text.embeddings for device in ("cuda", "cpu"))
    torch.testing.assert_close(gpu.cpu(), cpu, atol=1e-5, rtol=1e-4)
