"""`fcclip segment` and `fcclip video`: where they differ from demo.py."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcclip import zoo
from fcclip.__main__ import main
from fcclip.commands import choices, segment, segmenting, video
from fcclip.commands.options import DEFAULT_MODEL
from fcclip.files.video import VideoReader
from fcclip.zoo import published_models, weights_folder
from tests.integration.demo import write_video
from tests.seeded import seed_by_name
from tests.tiny import tiny_model, write_tiny_config

NAMES = ("--vocabulary", "red star; grass=stuff")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)).save(path)
    return path


def test_one_command_from_a_picture_to_a_picture(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "segmented.png"
    assert main(["segment", str(image), "--output", str(output), *NAMES, "--model", "panoshapes"]) == 0
    with Image.open(output) as picture:
        assert picture.size == (60, 40)


def test_several_inputs_and_a_configuration(image: Path, tmp_path: Path) -> None:
    other = image.with_name("other.png")
    other.write_bytes(image.read_bytes())
    found = tmp_path / "found.json"
    words = [str(image), str(other), "--json", str(found), *NAMES, "--config-file", str(write_tiny_config(tmp_path))]
    assert segment.main(words) == 0
    assert [result["file"] for result in json.loads(found.read_text())["results"]] == [str(image), str(other)]


def test_a_video(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", count=2)
    output = tmp_path / "out.mp4"
    words = [str(clip), "--output", str(output), *NAMES, "--config-file", str(write_tiny_config(tmp_path))]
    assert video.main(words) == 0
    with VideoReader(output) as reader:
        assert len(list(reader)) == 2
    with pytest.raises(SystemExit):
        video.main([*NAMES])


@pytest.mark.parametrize(
    ("words", "name"), [((), DEFAULT_MODEL), (("--model", "panoshapes"), "panoshapes"), (("--random-weights",), None)]
)
def test_photographs_are_given_to_the_published_model(image, monkeypatch, capsys, words, name) -> None:
    asked_for = []

    def find(asked: str) -> None:
        asked_for.append(asked)
        raise FileNotFoundError("the checkpoint is not here")

    def build(cfg: object) -> None:
        raise ValueError("no model is built here")

    monkeypatch.setattr(choices, "find_pretrained", find)
    monkeypatch.setattr(segmenting.Segmenter, "from_cfg", build)
    assert segment.main([str(image), "--json", str(image.with_suffix(".json")), *NAMES, *words]) == 2
    assert asked_for == ([name] if name else [])
    reason = "the checkpoint is not here" if name else "no model is built here"
    assert capsys.readouterr().err == f"fcclip segment: {reason}\n"


def test_a_fault_of_the_program_is_one_sentence(image, monkeypatch, capsys) -> None:
    def fail(cfg: object) -> None:
        raise TypeError("no such thing")

    monkeypatch.setattr(segmenting.Segmenter, "from_cfg", fail)
    arguments = [str(image), "--json", str(image.with_suffix(".json")), *NAMES, "--model", "panoshapes"]
    assert segment.main(arguments) == 1
    assert "fcclip segment: error: the program failed (TypeError: no such thing)" in capsys.readouterr().err
    with pytest.raises(TypeError):
        segment.main([*arguments, "--debug"])


def test_formats_for_other_programs(image: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    other = image.with_name("other.png")
    other.write_bytes(image.read_bytes())
    config = ["--config-file", str(write_tiny_config(tmp_path))]
    words = [str(image), str(other), "--output", str(output), *NAMES, *config, "--format", "yolo", "csv"]
    assert segment.main(words) == 0
    assert sorted(path.name for path in (output / "yolo" / "labels").iterdir()) == ["image.txt", "other.txt"]
    assert (output / "yolo" / "data.yaml").is_file()
    rows = (output / "csv" / "areas.csv").read_text().splitlines()
    assert {row.split(",")[0] for row in rows[1:]} == {"image.png", "other.png"}
    assert (output / "image.png").is_file(), "pictures are drawn as well"


def test_formats_of_a_video_and_without_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_video(tmp_path / "clip.mp4", count=2)
    config = ["--config-file", str(write_tiny_config(tmp_path))]
    words = [str(clip), *NAMES, *config, "--format", "class-ids"]
    assert video.main([*words, "--output", str(tmp_path / "out")]) == 0
    folder = tmp_path / "out" / "class-ids" / "clip"
    assert sorted(path.name for path in folder.iterdir()) == ["000001.png", "000002.png"]
    assert video.main([*words, "--output", str(tmp_path / "out.mp4")]) == 2
    assert "name a folder with --output" in capsys.readouterr().err


def test_a_named_successor_with_its_file(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of Mask-Adapter as it is published, but tiny: nested, with the whole CLIP."""
    name = "fcclip_convnext_large_mask_adapter"
    options = {"MODEL__MASK_ADAPTER__NAME": "MASKAdapterHead", "MODEL__MASK_ADAPTER__NUM_CHANNELS": 16}
    config = tmp_path / published_models()[name].config
    config.parent.mkdir(parents=True)
    write_tiny_config(tmp_path, **options, MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=False).rename(config)
    monkeypatch.setattr(zoo, "configs_folder", lambda: tmp_path)
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path / "cache"))
    weights_folder().mkdir(parents=True)
    model = tiny_model(**options)
    seed_by_name(model)
    torch.save({"model": model.state_dict()}, weights_folder() / f"{name}.pth")
    output = tmp_path / "out.png"
    words = ["--vocabulary", "cat; sky=stuff"]
    assert main(["segment", str(image), "--output", str(output), "--model", name, *words, "--device", "cpu"]) == 0
    assert output.is_file()
