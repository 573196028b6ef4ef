"""Attention and GELU are written so that onnxruntime computes each in one go, with PyTorch's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from fcclip.export.graphs import _write
from fcclip.export.operators import attention
from tests.export.systems import needs_exporter

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = needs_exporter


class Block(nn.Module):
    """Masked attention, of which a mask is for all heads or a number to add, and a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.after = nn.Linear(16, 64), nn.Linear(64, 16)

    def forward(self, x: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
        heads = x.reshape(x.shape[0], x.shape[1], 2, 8).transpose(1, 2)
        seen = F.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask)
        leaning = F.scaled_dot_product_attention(heads, seen, heads, attn_mask=bias, scale=0.1)
        free = F.scaled_dot_product_attention(heads, leaning, seen)
        result: Tensor = self.after(F.gelu(self.before((seen + leaning + free).transpose(1, 2).reshape(x.shape))))
        return result + F.gelu(result, approximate="tanh")


def test_the_engine_has_its_own_form_of_both(tmp_path: Path) -> None:
    block = Block()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 9, 16, generator=generator)
    mask = torch.rand(2, 1, 9, 9, generator=generator) > 0.5
    mask[..., 0] = True
    bias = torch.randn(2, 1, 9, 9, generator=generator)
    batch, length = Dim("batch", min=1), Dim("length", min=2)
    square = {0: batch, 2: length, 3: length}
    path, compiled = tmp_path / "block.onnx", tmp_path / "compiled.onnx"
    _write(block, (x, mask, bias), ({0: batch, 1: length}, square, square), ["x", "mask", "bias"], ["y"], path, 18)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(compiled)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = session.run(
        None, {"x": x[:, :7].numpy(), "mask": mask[..., :7, :7].numpy(), "bias": bias[..., :7, :7].numpy()}
    )
    expected = block(x[:, :7], mask[..., :7, :7], bias[..., :7, :7]).detach().numpy()
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    used = [node.op_type for node in onnx.load(compiled).graph.node]
    assert "BiasGelu" in used
    assert not {"Erf", "IsNaN"} & set(used)
    assert used.count("Where") == 1


def test_what_is_not_written_is_said() -> None:
    with pytest.raises(NotImplementedError, match="with a mask in place of is_causal"):
        attention(None, None, None, is_causal=True)
