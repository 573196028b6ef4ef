import json
import sys
from pathlib import Path

import pytest
import torch

from tests.export.systems import needs_exporter
from tests.tiny import write_tiny_config
from tools import benchmark
from tools.benchmark import Output, Setting, build, compare, largest_errors, measure
from tools.engines import measure_engines


def tiny_setting(folder: Path, batch: int = 1) -> Setting:
    return Setting(str(write_tiny_config(folder)), size=(50, 70), classes=3, queries=10, batch=batch, device="cpu")


def output(labels: list[int], scale: float = 1.0) -> Output:
    """One row of pixels of two classes, each pixel a segment of its class."""
    scores = torch.nn.functional.one_hot(torch.tensor([labels]), 2).permute(2, 0, 1) * scale
    return Output([{"sem_seg": scores, "panoptic_seg": (torch.tensor([labels]), [])}], [scores])


def test_options_are_measured_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("ours", "plain", "labels only", "channels last", "bfloat16", "padded", "two-stage")
    [timings] = measure([tiny_setting(tmp_path, batch=2)], names, repeats=1)
    assert list(timings) == list(names)
    assert all(len(timing.total) == 1 for timing in timings.values())
    assert len(timings["plain"].parts["results"]) == 2  # images
    lines = capsys.readouterr().out.splitlines()[2:]
    errors = {line[:22].strip(): [float(cell) for cell in line[22:].split()] for line in lines}
    assert errors["channels last"][1] < 1e-4
    assert errors["channels last"][1] < errors["bfloat16"][1] < 0.2
    assert errors["padded"][1] > 0
    assert errors["two-stage"][1] == 0  # the same masks
    assert errors["two-stage"][0] > 0


def test_models_of_a_setting_have_the_same_weights(tmp_path: Path) -> None:
    setting = tiny_setting(tmp_path)
    one, other = (build(setting, name).state_dict() for name in ("ours", "two-stage"))
    assert all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def test_errors_are_those_of_scores_masks_and_pixels() -> None:
    errors = largest_errors(output([0, 1, 1, 0], scale=2), output([0, 1, 0, 0], scale=1))
    assert errors == {"scores": 1.0, "masks": 1.0, "labels": 0.25, "panoptic": 0.25}
    with pytest.raises(RuntimeError, match='"ours" and "plain" give different results'):
        compare({"plain": output([0, 1]), "ours": output([1, 1])})
    compare({"plain": output([0, 1]), "fast": output([1, 1])})


@pytest.mark.parametrize("arguments", [["--vary", "batch"], ["--profile"]])
def test_the_command(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(benchmark.VARIATIONS, "batch", [{"batch": 1}, {"batch": 2}])
    monkeypatch.setattr("tools.profiling.COPY_BYTES", 1000)
    monkeypatch.setattr("tools.profiling.PRODUCT_SIDE", 10)
    figures = tmp_path / "figures.json"
    common = ["--config-file", str(write_tiny_config(tmp_path)), "--size", "50", "70", "--classes", "3"]
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *common, "--queries", "10", "--repeats", "1", "--json",
                                      str(figures), *arguments])  # fmt: skip
    benchmark.main()
    shown = capsys.readouterr().out
    if "--profile" in arguments:
        assert shown.count("pixel decoder: sampling") == 2  # ours, fast
    else:
        rows = json.loads(figures.read_text())["rows"]
        assert [(row["computation"], row["batch"]) for row in rows] == [
            (name, batch) for batch in (1, 2) for name in benchmark.DEFAULT
        ]
        growth = shown[shown.index("times the first") :].splitlines()
        assert growth[1].split() == ["batch", "1", *["1.00"] * 4]
        assert growth[2].startswith("batch 2 ")


def test_what_runs_as_one_cannot_be_profiled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='"compile" has no parts to profile'):
        benchmark.profile_all(tiny_setting(tmp_path), ["ours", "compile"], 1)


@needs_exporter
def test_engines_are_measured_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("published", "pytorch", "onnxruntime", "onnxruntime int8")
    measure_engines(str(write_tiny_config(tmp_path)), (64, 96), 3, 10, 1, names)
    said = ("first picture", "pattern rewrite rules")  # the latter by onnxscript before 0.7
    lines = [line for line in capsys.readouterr().out.splitlines() if not any(words in line for words in said)]
    cells = {line[:20].strip(): line[20:].split() for line in lines[1:]}
    assert tuple(cells) == names
    masks, labels = ({name: float(row[place]) for name, row in cells.items()} for place in (-2, -1))
    assert max(masks["pytorch"], masks["onnxruntime"]) < 1e-4
    assert masks["onnxruntime int8"] < 0.2
    assert labels["pytorch"] == labels["onnxruntime"] == 0
    megabytes, peak = (float(cell) for cell in cells["onnxruntime"][4:6])
    assert 0 < float(cells["onnxruntime int8"][4]) < megabytes < 100
    assert 0 < peak < 5
