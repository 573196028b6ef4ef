"""How the exporter writes some of PyTorch's operators: in the forms that onnxruntime computes in one go."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

LEAST = -3.4028234663852886e38  # float32's; an infinity less itself would not be a number


def translations() -> Mapping[Callable[..., Any], Callable[..., Any]]:
    """PyTorch's operators and functions that write them, for `torch.onnx.export`."""
    aten = torch.ops.aten
    return {aten.gelu.default: gelu, aten.scaled_dot_product_attention.default: attention}


def gelu(self: Any, approximate: str = "none") -> Any:
    """GELU in the order of operations that onnxruntime knows as one; the numbers stay the same."""
    from onnxscript import opset18 as op

    x = self  # PyTorch 2.9 takes a function only if its parameters are called as those of the operator
    if approximate == "tanh":
        cube = op.Mul(op.Mul(x, x), x)
        twice = op.Add(op.Tanh(op.Mul(op.Add(x, op.Mul(cube, 0.044715)), math.sqrt(2 / math.pi))), 1.0)
    else:
        twice = op.Add(op.Erf(op.Div(x, math.sqrt(2))), 1.0)
    return op.Mul(op.Mul(x, twice), 0.5)


def attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Attention with its mask added once for all heads; every row must have a place that it may look at."""
    from onnxscript import opset18 as op

    if dropout_p or is_causal or enable_gqa:
        raise NotImplementedError("attention is written without dropout, with a mask in place of is_causal")
    weight = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = op.Mul(op.MatMul(query, op.Transpose(key, perm=[0, 1, 3, 2])), weight)
    if attn_mask is not None:
        is_allowed = attn_mask.dtype.name == "BOOL"
        bias = op.Where(attn_mask, 0.0, LEAST) if is_allowed else attn_mask  # type: ignore[type-var]  # constants
        scores = op.Add(scores, bias)
    return op.MatMul(op.Softmax(scores, axis=-1), value)
