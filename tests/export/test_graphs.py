"""Masks without pixels are the same to every engine."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fcclip.clip.mask_pooling import mask_pool
from fcclip.export.engine import OnnxRuntimeGraph
from fcclip.export.graphs import _write
from fcclip.modeling.deformable.gather_backend import sample_by_gather
from fcclip.modeling.deformable.torch_backend import sample_torch
from tests.export.systems import needs_exporter
from tests.tiny import tiny_model


class Pooling(nn.Module):
    """Both ways of pooling features over masks."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = tiny_model("resnet").backbone

    def forward(self, features: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        return mask_pool(features, masks), self.clip.embed_masks(features, masks)


@needs_exporter
def test_masks_without_pixels_are_numbers(tmp_path: Path) -> None:
    pooling = Pooling().eval()
    width = pooling.clip.tower.channels["res5"]
    features, masks = torch.randn(2, width, 3, 4), torch.randn(2, 5, 3, 4)
    masks[0, 1] = masks[1, 4] = -1
    _write(pooling, (features, masks), ({}, {}), ["features", "masks"], ["pooled", "embedded"], tmp_path / "a.onnx", 18)
    found = OnnxRuntimeGraph(tmp_path / "a.onnx", 1)({"features": features.numpy(), "masks": masks.numpy()})
    pooled, embedded = pooling(features, masks)
    assert not pooled[0, 1].any()
    np.testing.assert_allclose(found["pooled"], pooled.numpy(), atol=1e-5)
    np.testing.assert_allclose(found["embedded"], embedded.detach().numpy(), atol=1e-5)


def test_gathering_gives_what_sampling_gives() -> None:
    shapes = [(3, 4), (6, 8)]
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 60, 2, 5, generator=generator)
    locations = torch.rand(2, 7, 2, 2, 4, 2, generator=generator) * 1.4 - 0.2  # some of them outside
    weights = torch.rand(2, 7, 2, 2, 4, generator=generator)
    expected = sample_torch(value, shapes, locations, weights)
    torch.testing.assert_close(sample_by_gather(value, shapes, locations, weights), expected, atol=1e-5, rtol=1e-5)
