"""The image tower's products in 8 bits: smaller and faster, and not quite the same numbers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

TOWER = "model.backbone"  # scope of its modules in the graph
NAME_SCOPES = "pkg.torch.onnx.name_scopes"  # where PyTorch's exporter notes them
PRODUCTS = {  # of each mode: a convolution whose ranges are found anew is slower in 8 bits, and far off
    "dynamic": ("MatMul", "Gemm"),
    "calibrated": ("MatMul", "Gemm", "Conv"),
}
MODES = tuple(PRODUCTS)


def quantize(graph: Path, target: Path, mode: str, inputs: Iterator[Mapping[str, np.ndarray]] | None = None) -> int:
    """Write a graph whose tower multiplies in 8 bits.

    Args:
        graph: from `fcclip.export.graphs`.
        target: the file to write.
        mode: "dynamic": ranges of activations are found anew for every picture. "calibrated": once, from `inputs`.
        inputs: of the graph.

    Returns:
        How many products are in 8 bits.

    Raises:
        ValueError: the tower has no such products, or there are no inputs.
    """
    import onnx
    from onnxruntime import quantization

    model = onnx.load(graph)
    nodes = tower_products(model, PRODUCTS[mode])
    if not nodes:
        raise ValueError(
            f"the image tower of this model has no {' or '.join(PRODUCTS[mode])} with weights, so that --int8 {mode} "
            "gains nothing; try --int8 calibrated, or leave it out"
        )
    source = model if _forget_shapes_of_weights(model) else graph
    del model  # onnxruntime reads the file itself
    with _quiet():
        if mode == "dynamic":
            quantization.quantize_dynamic(
                source, target, nodes_to_quantize=nodes, per_channel=True, weight_type=quantization.QuantType.QInt8
            )
            return len(nodes)
        reader = _Reader(inputs or iter(()))
        quantization.quantize_static(
            source,
            target,
            reader,
            nodes_to_quantize=nodes,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    if not reader.read:
        raise ValueError("there is no picture to calibrate with; give a folder of some with --images")
    return len(nodes)


def tower_products(model: Any, kinds: Collection[str]) -> list[str]:
    """Names of the tower's products of some kinds with weights; a depthwise convolution stays in float32."""
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    names = []
    for node in model.graph.node:
        scopes = {entry.key: entry.value for entry in node.metadata_props}.get(NAME_SCOPES, "")
        shape = weights.get(node.input[1]) if node.op_type in kinds else None
        if shape is not None and TOWER in scopes and (len(shape) == 2 or shape[1:] != (1, *shape[2:])):
            names.append(node.name)
    return names


def _forget_shapes_of_weights(model: Any) -> bool:
    """Let a model state shapes of weights, as PyTorch 2.9 writes it, no longer; whether it did.

    onnxruntime turns weights over while it quantizes, and fails if their shapes are stated.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    others = [value for value in model.graph.value_info if value.name not in weights]
    if len(others) == len(model.graph.value_info):
        return False
    del model.graph.value_info[:]
    model.graph.value_info.extend(others)
    return True


class _Reader:
    """Inputs, one after another, as onnxruntime asks for them."""

    def __init__(self, inputs: Iterator[Mapping[str, np.ndarray]]) -> None:
        self._inputs = inputs
        self.read = 0

    def get_next(self) -> dict[str, Any] | None:
        found = next(self._inputs, None)
        self.read += found is not None
        return None if found is None else dict(found)


@contextmanager
def _quiet() -> Iterator[None]:
    """It advises to preprocess the graph, which the exporter has done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
