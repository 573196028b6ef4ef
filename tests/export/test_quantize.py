"""Which products go into 8 bits, and what the command makes of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcclip.__main__ import main
from fcclip.export import Runtime
from fcclip.export.manifest import read_manifest
from fcclip.export.quantize import NAME_SCOPES, PRODUCTS, _forget_shapes_of_weights, quantize, tower_products
from tests.export.systems import needs_exporter, picture, small_cfg

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def write_graph(path: Path, kinds: tuple[str, ...]) -> None:
    """A tower of products with weights, one after another, and a head with one of its own."""
    generator = np.random.default_rng(0)
    nodes, weights, at = [], [], "x"
    for number, kind in enumerate(("Depthwise", *kinds, "Head")):
        shape = {"Conv": (6, 6, 1, 1), "Depthwise": (6, 1, 1, 1)}.get(kind, (6, 6))
        weights.append(numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), f"weight {number}"))
        operator, options = ("Conv", {"group": 6}) if kind == "Depthwise" else (kind.replace("Head", "MatMul"), {})
        node = helper.make_node(operator, [at, f"weight {number}"], [f"y{number}"], name=f"{kind} {number}", **options)
        scope = "model.head" if kind == "Head" else "model.backbone.tower"
        node.metadata_props.append(onnx.StringStringEntryProto(key=NAME_SCOPES, value=f"['', '{scope}']"))
        nodes.append(node)
        at = f"y{number}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 6, 6, 6]) for name in ("x", at)]
    graph = helper.make_graph(nodes, "tower", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)


def test_ranges_found_anew_are_for_matrices_alone(tmp_path: Path) -> None:
    write_graph(tmp_path / "a.onnx", ("MatMul", "Conv"))
    model = onnx.load(tmp_path / "a.onnx")
    assert tower_products(model, PRODUCTS["dynamic"]) == ["MatMul 1"]
    assert tower_products(model, PRODUCTS["calibrated"]) == ["MatMul 1", "Conv 2"]
    assert quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", "dynamic") == 1
    used = [node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node]
    assert used.count("MatMulInteger") == 1
    assert used.count("Conv") == 2
    assert used.count("MatMul") == 1
    assert "ConvInteger" not in used


def test_shapes_of_weights_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    write_graph(path, ("MatMul",))
    model = onnx.load(path)
    assert not _forget_shapes_of_weights(model)
    for name, shape in (("weight 1", [6, 6]), ("y1", [1, 6, 6, 6])):
        model.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    assert _forget_shapes_of_weights(model)
    assert [value.name for value in model.graph.value_info] == ["y1"]


def test_a_tower_without_such_products_is_refused(tmp_path: Path) -> None:
    write_graph(tmp_path / "a.onnx", ("Conv",))
    with pytest.raises(ValueError, match=r"no MatMul or Gemm with weights, .* try --int8 calibrated"):
        quantize(tmp_path / "a.onnx", tmp_path / "b.onnx", "dynamic")
    assert not (tmp_path / "b.onnx").exists()


@needs_exporter
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(small_cfg("convnext", tmp_path).dump())
    (tmp_path / "photos").mkdir()
    for number in range(2):
        Image.fromarray(picture(64 + 32 * number, 96)).save(tmp_path / "photos" / f"{number}.png")
    calls = {"exact": [], "int8": ["--int8", "calibrated", "--images", str(tmp_path / "photos")]}
    for name, words in calls.items():
        output = str(tmp_path / name)
        torch.manual_seed(0)
        assert main(["export", "--config-file", str(config), "--random-weights", "--output", output, *words]) == 0
    assert "Error" not in capsys.readouterr().err
    assert read_manifest(tmp_path / "int8").precision == "int8 calibrated"
    sizes = [(tmp_path / name / "image.onnx").stat().st_size for name in calls]
    assert sizes[1] < sizes[0]
    exact, rounded = (
        Runtime(tmp_path / name, threads=1).encode(picture(64, 96)).encoded["mask_logits"] for name in calls
    )
    assert 0.5 < np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] < 0.999999  # random weights enlarge what is rounded
