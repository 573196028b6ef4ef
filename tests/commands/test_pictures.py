"""Folders of images: sub-folders, resuming, the summary, and work beside the network."""

import json
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from fcclip.commands import segment
from fcclip.commands.folder import SUMMARY
from fcclip.commands.pictures import ImageJob, plan_images
from fcclip.commands.results import Demo, Report
from fcclip.evaluation.journal import Journal
from fcclip.files.background import Background
from tests.tiny import write_tiny_config

NAMES = ("--vocabulary", "red star; grass=stuff")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (3, 40, 60, 3)).astype(np.uint8)
    for pixels, name in zip(noise, ("a/same.png", "b/same.png", "c.png"), strict=True):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


def run(folder: Path, *more: str, names: tuple[str, ...] = NAMES) -> int:
    config = write_tiny_config(folder.parent)
    words = [str(folder), "--subfolders", "--output", str(folder / "out"), *names, "--config-file", str(config)]
    return segment.main([*words, *more])


def test_sub_folders_are_kept_and_all_is_summed_up(folder: Path) -> None:
    assert run(folder) == 0
    out = folder / "out"
    for name in ("a/same.png", "b/same.png", "c.png"):
        assert (out / name).is_file()
    with Image.open(out / "summary" / "contact_sheet.jpg") as sheet:
        assert sheet.size == (3 * 164, 164)
    assert (out / "summary" / "summary.csv").read_text().startswith("class,images,mean_share_there\n")


def test_a_run_goes_on_with_what_is_missing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = folder.parent / "found.json"
    assert run(folder, "--json", str(found)) == 0
    first = json.loads(found.read_text())
    out = folder / "out"
    (out / "b" / "same.png").unlink()
    before = (out / "c.png").stat().st_mtime_ns
    capsys.readouterr()
    assert run(folder, "--resume", "--json", str(found)) == 0
    assert "2 of 3 images are done already" in capsys.readouterr().out
    assert (out / "b" / "same.png").is_file()
    assert (out / "c.png").stat().st_mtime_ns == before
    assert json.loads(found.read_text()) == first


def test_other_names_and_changed_images_are_done_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    Image.new("RGB", (30, 20)).save(folder / "c.png")
    capsys.readouterr()
    assert run(folder, "--resume") == 0
    assert "2 of 3 images are done already" in capsys.readouterr().out
    assert run(folder, "--resume", names=("--vocabulary", "blue star")) == 0
    assert "done already" not in capsys.readouterr().out


def test_nothing_found_is_said_in_place_of_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--confidence-threshold", "1") == 0
    assert "\nnothing found in 3 images\nsummary: " in capsys.readouterr().out


def calls_of_a_finished_run(folder: Path, count: int) -> int:
    """How many Python functions a run calls that finds so many images done; all comparisons of paths are such calls."""
    output = folder / f"out_{count}"
    segmenter = SimpleNamespace(stream=lambda images, *_, **__: iter(list(images)))
    demo = Demo(cast("Any", segmenter), 0.0, Report(keep_results=True), None, 1)
    images = [folder / f"{count}_{number}.png" for number in range(count)]
    for path in (*images, *(output / image.name for image in images)):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with Journal(output / SUMMARY / "done", demo.identity).open(0) as journal:
        for image in images:
            stamp = [image.stat().st_size, image.stat().st_mtime_ns]
            record = {"stamp": stamp, "found": {"file": str(image)}, "shares": {"red star": 0.5}}
            journal.append(image.name, {"result": record})
    calls = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    job = ImageJob(plan_images(images, [folder], output, resume=True))
    sys.setprofile(note)
    try:
        job.run(demo)
    finally:
        sys.setprofile(None)
    assert len(demo.report.results) == count
    return calls


def test_the_work_of_resuming_grows_with_the_images_and_not_with_their_square(tmp_path: Path) -> None:
    few, some, many = (calls_of_a_finished_run(tmp_path, count) for count in (250, 500, 1000))
    assert many - some < 2.5 * (some - few)


def test_what_cannot_be_resumed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--resume", "--format", "csv") == 2
    assert "--format needs the results of all images" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--resume goes on with the pictures of a folder"):
        plan_images([folder / "c.png"], [folder], None, resume=True)


def test_globs_keep_what_is_below_their_stars(folder: Path) -> None:
    images = sorted(folder.glob("**/same.png"))
    names = plan_images(images, [folder / "**" / "same.png"], folder / "out").names
    assert list(names.values()) == ["a/same.png", "b/same.png"]


def test_jobs_run_in_order_and_their_errors_are_told() -> None:
    done: list[int] = []
    told: list[str] = []

    def fail() -> None:
        raise OSError("the disk is full")

    with Background(lambda name, error: told.append(f"{name}: {error}")) as background:
        for number in range(50):
            background.submit("fine", lambda number=number: done.append(number))
        background.submit("picture", fail)
    assert done == list(range(50))
    assert told == ["picture: the disk is full"]


def test_jobs_do_not_run_where_they_are_submitted() -> None:
    names: list[int] = []
    with Background(lambda name, error: None) as background:
        background.submit("one", lambda: names.append(threading.get_ident()))
    assert names != [threading.get_ident()]


def test_an_error_that_no_image_can_be_blamed_for_ends_the_work() -> None:
    def blame(name: str, error: Exception) -> None:
        raise error

    with pytest.raises(TypeError, match="a mistake"), Background(blame) as background:
        background.submit("one", lambda: (_ for _ in ()).throw(TypeError("a mistake")))


def test_two_pictures_that_would_have_one_name(folder: Path) -> None:
    images = [folder / "a" / "same.png", folder / "b" / "same.png"]
    with pytest.raises(ValueError, match=r"two inputs are called same\.png, .* give them one by one"):
        plan_images(images, [str(image) for image in images], folder / "out")
