import json

import pytest
import torch

from tools import benchmark_deformable_attention as benchmark

SMALL = ["--device", "cpu", "--image", "40x64", "--repeats", "1", "--types", "float32"]


@pytest.fixture(autouse=True)
def _copy_little(monkeypatch) -> None:
    monkeypatch.setattr(benchmark, "copy_bandwidth", lambda device: 1e9)


def test_compares_what_runs_and_names_what_does_not(tmp_path, capsys) -> None:
    report = tmp_path / "report.json"
    benchmark.main([*SMALL, "--json", str(report)])
    printed = capsys.readouterr().out
    assert "not run: everything on a GPU; this is the CPU" in printed
    assert "not run: triton: " in printed
    results = [result for result in json.loads(report.read_text())["results"] if result["backend"] == "torch"]
    assert [result["which"] for result in results] == ["forward", "backward"]
    assert all(0 < result["error"] < 1e-5 for result in results)
    cells = 2 * 2 + 3 * 4 + 5 * 8
    forward = 4 * cells * 8 * (32 + 3 * 4 * 3 + 32)  # value, places and weights, output
    assert results[0]["floor_bytes"] == forward
    assert results[1]["floor_bytes"] == forward + 4 * cells * 8 * (2 * 32 + 3 * 4 * 3)


def test_errors_are_measured_against_float64() -> None:
    exact = [torch.tensor([1.0, -4.0], dtype=torch.float64)]
    assert benchmark.largest_error([torch.tensor([1.5, -4.0])], exact) == 0.125


def test_a_wrong_image_size_is_an_error(capsys) -> None:
    with pytest.raises(SystemExit):
        benchmark.main([*SMALL, "--image", "800"])
    assert '"800" is no image size; write height x width, like 800x1199' in capsys.readouterr().err
