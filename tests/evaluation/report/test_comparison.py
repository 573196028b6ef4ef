"""Two evaluations side by side."""

import json

import pytest

from fcclip.evaluation.report.comparison import compare_results, read_results
from tools.compare_results import main


def results(pq: float, cat: float | None, **run: object) -> dict:
    return {
        "dataset": "zoo_val",
        "images": 5,
        "results": {"panoptic_seg": {"PQ": pq, "PQ_unseen": None}},
        "per_class": {"cat": {"panoptic_seg.PQ": cat}, "sky": {"panoptic_seg.PQ": 50.0}},
        "run": {
            "checkpoint": {"file": "a.pth", "sha256": "0"},
            "iteration": 7,
            "date": "2026-01-01",
            "vocabulary": ["cat", "sky"],
            "versions": {"torch": "2.9"},
            "configuration": "INPUT:\n  MIN_SIZE_TEST: 800\n",
            **run,
        },
    }


def test_averages_classes_and_differences_of_the_runs():
    second = results(45.5, 30.0, versions={"torch": "2.10"}, configuration="INPUT:\n  MIN_SIZE_TEST: 640\n")
    text = compare_results(results(40.0, 20.0), second)
    assert "first: a.pth, iteration 7, zoo_val, 5 images, 2026-01-01" in text
    assert "differences: torch 2.9, then 2.10" in text
    assert "configuration\n- MIN_SIZE_TEST: 800\n+ MIN_SIZE_TEST: 640" in text
    assert [line.split() for line in text.splitlines() if line.startswith(("PQ", "cat", "sky"))] == [
        ["PQ", "40.000", "45.500", "+5.500"],
        ["cat", "20.000", "30.000", "+10.000"],
    ]


def test_other_data_and_names_are_said_and_undefined_values_left_out():
    second = {**results(40.0, None, vocabulary=["cat"]), "images": 6}
    text = compare_results(results(40.0, 20.0), second)
    assert "differences: not the same images; not the same vocabulary" in text
    assert "\ncat" not in text


def test_many_classes_show_both_ends():
    runs = [results(1.0, 0.0), results(1.0, 0.0)]
    for sign, run in zip((0, 1), runs, strict=True):
        run["per_class"] = {f"c{k:02}": {"sem_seg.IoU": 50.0 + sign * (k - 25)} for k in range(51)}
    names = [line.split()[0] for line in compare_results(*runs, classes=2).splitlines() if line.startswith("c")]
    assert names[names.index("class") + 1 :] == ["c00", "c01", "c49", "c50"]


def test_the_command_takes_folders_and_files(tmp_path, capsys):
    (tmp_path / "results.json").write_text(json.dumps(results(40.0, 20.0)))
    assert main([str(tmp_path), str(tmp_path / "results.json")]) == 0
    assert "+0.000" in capsys.readouterr().out
    assert main([str(tmp_path), str(tmp_path / "none")]) == 1
    assert "compare_results: error: there are no results" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["[", "[]", "{}"])
def test_other_files_are_no_results(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"results\.json (is not a JSON file|holds no results)"):
        read_results(tmp_path)
