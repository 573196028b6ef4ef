"""The demo as a user starts it, on a real photograph and on inputs that are broken."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fcclip.commands.choices import add_lists, read_model_config
from fcclip.commands.demo import main, parse_arguments
from fcclip.config import load_inference_cfg
from fcclip.meta_arch.fcclip import FCCLIP
from tests.integration.demo import NAMES, PHOTOGRAPH, RunDemo, write_video
from tests.tiny import REPOSITORY

DEMO = REPOSITORY / "demo" / "demo.py"
RANDOM = "RANDOM WEIGHTS"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder with a whole photograph, half of one, a text called .jpg, and a picture of another kind."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    data = PHOTOGRAPH.read_bytes()
    (folder / "a_cut.jpg").write_bytes(data[: len(data) // 2])
    (folder / "b_text.jpg").write_text("this is not a picture")
    (folder / "c_whole.jpg").write_bytes(data)
    Image.new("L", (50, 40), 90).save(folder / "d_grey.png")
    return folder


def test_a_photograph_from_any_folder(config: Path, tmp_path: Path) -> None:
    """One whole process, as in the README, started somewhere else."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, DEMO, "--config-file", config, "--input", PHOTOGRAPH, "--output", "out.png"]
    done = subprocess.run(
        [*command, "--vocabulary", NAMES, "--json", "found.json"], cwd=elsewhere, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with Image.open(PHOTOGRAPH) as photograph, Image.open(elsewhere / "out.png") as picture:
        assert picture.size == photograph.size
        assert (np.array(picture) != np.array(photograph)).any()
    found = json.loads((elsewhere / "found.json").read_text())
    assert [names["names"][0] for names in found["vocabulary"]] == ["woman", "hat", "flag", "wall"]
    assert [names["is_thing"] for names in found["vocabulary"]] == [True, True, True, False]
    [result] = found["results"]
    assert result["random_weights"]
    assert len(result["segments"]) > 0
    assert RANDOM in done.stdout
    for segment in result["segments"]:
        assert segment["name"] in done.stdout


def test_bad_images_are_named_and_the_rest_is_done(
    run_demo: RunDemo, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results"
    missing = tmp_path / "missing.jpg"
    assert run_demo("--input", missing, photographs, "--output", output) == 1
    assert sorted(path.name for path in output.iterdir()) == ["c_whole.jpg", "d_grey.png", "summary"]
    errors = capsys.readouterr().err
    for name in (
        "a_cut.jpg is not a readable image",
        "b_text.jpg is not a readable image",
        "missing.jpg does not exist",
    ):
        assert f"{name}" in errors
    assert "Traceback" not in errors


def write_sizes(folder: Path) -> list[Path]:
    """Pictures of two sizes by turns, and a text among them."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3)).astype(np.uint8)
    for index, size in enumerate([(60, 40), (40, 60), (60, 40)]):
        Image.fromarray(noise[index]).resize(size, Image.Resampling.NEAREST).save(folder / f"{index}.png")
    (folder / "1b.png").write_text("this is not a picture")
    return [folder / f"{index}.png" for index in range(3)]


def test_batches_of_mixed_sizes(run_demo: RunDemo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = write_sizes(tmp_path / "images")
    found = []
    for size in (1, 2):
        path = tmp_path / f"found{size}.json"
        assert run_demo("--input", tmp_path / "images", "--json", path, "--batch-size", size) == 1
        assert "1b.png is not a readable image" in capsys.readouterr().err
        found.append(json.loads(path.read_text())["results"])
    assert [result["file"] for result in found[1]] == list(map(str, images))
    for alone, together in zip(*found, strict=True):
        assert [segment["name"] for segment in alone["segments"]] == [s["name"] for s in together["segments"]]
        assert len(alone["segments"]) > 0


def test_a_batch_that_is_too_large_is_divided(
    run_demo: RunDemo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_sizes(tmp_path / "images")
    encode = FCCLIP.encode

    def short_of_memory(model: FCCLIP, inputs: list[dict[str, Any]], *options: Any) -> Any:
        if len(inputs) > 1 or inputs[0]["height"] > inputs[0]["width"]:
            raise torch.cuda.OutOfMemoryError("no memory left")
        return encode(model, inputs, *options)

    monkeypatch.setattr(FCCLIP, "encode", short_of_memory)
    path = tmp_path / "found.json"
    assert run_demo("--input", *images, "--json", path, "--batch-size", 2) == 1
    assert [result["file"] for result in json.loads(path.read_text())["results"]] == [str(images[0]), str(images[2])]
    assert "1.png: no memory left" in capsys.readouterr().err


def test_globs_folders_and_names_that_collide(
    run_demo: RunDemo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (40, 30), (80, 90, 200)).save(tmp_path / folder / "same.png")
    assert run_demo("--input", tmp_path / "*" / "same.png", "--output", tmp_path / "out") == 2
    assert "called same.png" in capsys.readouterr().err
    assert run_demo("--input", tmp_path / "*" / "same.png", "--json", tmp_path / "found.json") == 0
    files = [result["file"] for result in json.loads((tmp_path / "found.json").read_text())["results"]]
    assert files == [str(tmp_path / "one" / "same.png"), str(tmp_path / "two" / "same.png")]


def test_inputs_are_never_written_over(
    run_demo: RunDemo, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = photographs / "c_whole.jpg"
    before = whole.read_bytes()
    assert run_demo("--input", whole, "--output", photographs) == 2
    assert "written over an input" in capsys.readouterr().err
    assert whole.read_bytes() == before
    video = write_video(photographs / "clip.mp4")
    assert run_demo("--video-input", video, "--output", photographs) == 2
    assert "written over the input" in capsys.readouterr().err


def test_threshold_drops_what_scores_less(run_demo: RunDemo, tmp_path: Path) -> None:
    def run(threshold: float) -> dict[str, list[dict[str, float]]]:
        path = tmp_path / "found.json"
        assert run_demo("--input", PHOTOGRAPH, "--json", path, "--confidence-threshold", threshold) == 0
        [result] = json.loads(path.read_text())["results"]
        return result

    everything = run(0)
    scores = sorted(instance["score"] for instance in everything["instances"])
    assert len(scores) > 2
    threshold = (scores[0] + scores[-1]) / 2
    kept = run(threshold)
    for kind in ("segments", "instances"):
        expected = [item for item in everything[kind] if item["score"] >= threshold]
        assert kept[kind] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "none.jpg"], "none.jpg does not exist"),
        (["--input", "."], "has no images"),
        (["--input", "*.jpg"], "no file matches"),
        (["--input", PHOTOGRAPH, "--config-file", "none.yaml"], "no configuration file none.yaml"),
        (["--input", PHOTOGRAPH, "--json", "."], "name a file in it"),
        (["--input", PHOTOGRAPH, "--output", DEMO], "file of another kind"),
        (["--input", PHOTOGRAPH, "--opts", "MODEL.NO_SUCH_KEY", "1"], "MODEL.NO_SUCH_KEY"),
        (["--input", PHOTOGRAPH, "--opts", "MODEL.WEIGHTS"], "has no value"),
        (["--input", PHOTOGRAPH, "--opts", "MODEL.WEIGHTS", "none.pth"], "none.pth"),
        (["--video-input", "none.mp4"], "none.mp4 does not exist"),
    ],
)
def test_usage_errors(
    run_demo: RunDemo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[object],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    output = ["--output", "out.mp4" if "--video-input" in arguments else "out.png"]
    assert run_demo(*output, *arguments) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert message in errors[-1]
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize("vocabulary", ["", " ; ", "cat,,dog", "cat; cat", "sky=sea"])
def test_bad_vocabularies(run_demo: RunDemo, vocabulary: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo("--input", PHOTOGRAPH, "--output", "unused.png", vocabulary=vocabulary) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0


def test_several_images_do_not_fit_in_one_file(
    run_demo: RunDemo, photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo("--input", photographs, "--output", photographs / "one.png") == 2
    assert "give a folder" in capsys.readouterr().err


def test_window_needs_a_screen(
    run_demo: RunDemo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert run_demo("--input", PHOTOGRAPH) == 2
    assert "--output" in capsys.readouterr().err


def test_argument_errors_are_usage_errors(run_demo: RunDemo) -> None:
    wrong_values = (["--input", "a", "--confidence-threshold", "2"], ["--input", "a", "--batch-size", "0"])
    for arguments in ([], ["--input", "a", "--webcam"], *wrong_values):
        with pytest.raises(SystemExit) as stopped:
            run_demo(*arguments)
        assert stopped.value.code == 2


def test_built_in_lists_join_the_users_classes(run_demo: RunDemo, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    image = tmp_path / "image.png"
    Image.new("RGB", (40, 30), (80, 90, 200)).save(image)
    names = tmp_path / "names.txt"
    names.write_text("forklift\nlawn=stuff\n")
    arguments = ["--vocabulary-file", names, "--add-vocabulary", "coco", "--input", image, "--json", path]
    assert run_demo(*arguments, vocabulary=None) == 0
    vocabulary = json.loads(path.read_text())["vocabulary"]
    assert len(vocabulary) == 2 + 133
    assert vocabulary[0]["names"] == ["forklift"]
    assert vocabulary[81]["names"] == ["lawn"]


def test_the_published_lists_of_names(run_demo: RunDemo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "coco_panoptic_with_prompt_eng.txt").write_text("".join(f"{n}:published {n}\n" for n in range(1, 201)))
    monkeypatch.setattr("fcclip.files.vocabularies.published_vocabularies", lambda: lists)
    image, path = tmp_path / "image.png", tmp_path / "found.json"
    Image.new("RGB", (40, 30), (80, 90, 200)).save(image)
    arguments = ["--published-vocabulary", "--add-vocabulary", "coco", "--input", image, "--json", path]
    assert run_demo(*arguments, vocabulary=None) == 0
    assert json.loads(path.read_text())["vocabulary"][0]["names"] == ["published 1"]


def test_names_are_read_before_a_model_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcclip.commands.choices.find_pretrained", lambda _: pytest.fail("fetched in vain"))
    arguments = ["--model", "fcclip_r50", "--vocabulary", "cat; cat", "--input", str(PHOTOGRAPH), "--json"]
    assert main([*arguments, str(tmp_path / "found.json")]) == 2


@pytest.mark.parametrize("option", ["--json", "--output"])
def test_places_are_tried_before_the_work(
    run_demo: RunDemo, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr("fcclip.commands.segmenting.Segmenter.from_cfg", lambda _: pytest.fail("a model was built"))
    assert run_demo("--input", PHOTOGRAPH, option, PHOTOGRAPH / "found.json") == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert PHOTOGRAPH.name in error


def test_all_built_in_lists_are_the_default(config: Path) -> None:
    options = parse_arguments(["--input", "unused.jpg", "--random-weights"])
    assert len(add_lists([], options, load_inference_cfg(config))) == 1486
    assert read_model_config(options).MODEL.FC_CLIP.CLIP_MODEL_NAME == "convnext_large_d_320", "as published"
