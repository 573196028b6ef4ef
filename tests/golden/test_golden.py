import pytest
import torch
from safetensors.torch import load_file

from tests.golden.make import FOLDER, compute


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
def test_outputs_are_as_recorded(kind: str) -> None:
    expected = load_file(FOLDER / f"tiny_{kind}.safetensors")
    found = compute(kind)
    assert found.keys() == expected.keys()
    assert len(expected["segment_classes"]) > 1
    differing = (found.pop("panoptic_seg") != expected.pop("panoptic_seg")).sum()
    assert differing <= 5
    for name, tensor in expected.items():
        tolerance = 1e-4 * tensor.abs().max().item() if tensor.is_floating_point() else 0
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")
