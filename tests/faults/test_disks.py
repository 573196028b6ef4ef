"""Disks that are full or go away, and clocks that are set: what was finished is kept, and the same command goes on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from PIL import Image

from fcclip.commands import segment
from fcclip.commands.results import Report
from fcclip.evaluation import evaluate
from fcclip.evaluation.journal import Journal
from fcclip.files.atomic import OutputError
from tests.engine.training import DATASET, training_cfg
from tests.faults.disks import judge_message
from tests.faults.trees import contents, journal
from tests.tiny import tiny_model, write_tiny_config

resource = pytest.importorskip("resource")

NAMES = "red star; grass=stuff"
FULL = "cannot be written: the disk is full; make room, or choose a place on another disk"
YEAR = 365 * 86400


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """Within, no file may have more bytes: like a full disk for this process, and needs no right to mount one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    # Pictures are drawn in threads: behind a picture that has no room, a small one would be there or not.
    for number, side in enumerate((24, 200, 200)):
        noise = np.random.default_rng(number).integers(0, 255, (side, side, 3)).astype(np.uint8)
        path = tmp_path / "photos" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise).save(path)
    return tmp_path / "photos"


def run(photos: Path, output: str, *words: str) -> int:
    config = write_tiny_config(photos.parent)
    files = ["--output", str(photos.parent / output), "--vocabulary", NAMES, "--config-file", str(config)]
    return segment.main([str(photos), *files, *words])


def found(photos: Path, output: str) -> dict[str, object]:
    return contents(photos.parent / output, (), {"summary/done/*": journal})


def test_a_folder_on_a_full_disk_goes_on_when_there_is_room(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photos, "whole") == 0
    capsys.readouterr()
    with small_disk(60_000):
        assert run(photos, "out") == 1
    told = capsys.readouterr().err
    assert FULL in told.splitlines()[-1]
    assert judge_message(told, photos.parent) == []
    assert "skipped" not in told, "no image is to blame"
    assert (photos.parent / "out" / "0.png").is_file()
    assert not (photos.parent / "out" / "1.png").exists()
    assert run(photos, "out", "--resume") == 0
    assert "1 of 3 images are done already" in capsys.readouterr().out
    assert found(photos, "out") == found(photos, "whole")


def test_a_line_that_a_full_disk_cut_is_written_again(tmp_path: Path) -> None:
    entries = Journal(tmp_path / "unfinished", "digest")
    writer = entries.open(0)
    with small_disk(200):
        writer.append("a.jpg", {"sem_seg": {"x": 1}})
        with pytest.raises(OutputError, match=rf"rank0\.jsonl {FULL}"):
            writer.append("b.jpg", {"sem_seg": {"x": "y" * 200}})
    assert list(entries.read()) == ["a.jpg"]
    with entries.open(0) as other:
        other.append("b.jpg", {"sem_seg": {"x": 2}})
    assert list(entries.read()) == ["a.jpg", "b.jpg"]


def test_a_journal_that_is_half_deleted_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Journal(tmp_path / "unfinished", "digest")
    with entries.open(0) as writer:
        writer.append("a.jpg", {"sem_seg": {"x": 1}})

    def die(folder: Path, ignore_errors: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        entries.remove()
    monkeypatch.undo()
    assert entries.read() == {}


def test_photographs_that_go_away_are_named(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(photos, "whole") == 0
    record = Report.record

    def unplug(self: Report, *arguments: object, **more: object) -> object:
        if photos.is_dir():
            photos.rename(photos.parent / "unplugged")
        return record(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Report, "record", unplug)
    assert run(photos, "out") == 1
    monkeypatch.undo()
    (photos.parent / "unplugged").rename(photos)
    told = capsys.readouterr().err
    assert f"{photos}/2.png" in told
    assert "Traceback" not in told
    assert run(photos, "out", "--resume") == 0
    assert found(photos, "out") == found(photos, "whole")


def test_a_dataset_that_goes_away_is_named_and_its_evaluation_goes_on(tmp_path: Path) -> None:
    cfg = training_cfg(tmp_path, MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.0)
    images = tmp_path / "data" / "images"
    seen: list[str] = []

    def watched(after: Callable[[], object]) -> object:
        model = tiny_model(MODEL__MASK_FORMER__DEC_LAYERS=2, MODEL__SEM_SEG_HEAD__NUM_CLASSES=3)
        model.set_metadata(MetadataCatalog.get(DATASET))

        def note(_: object, inputs: tuple[list[dict[str, str]]]) -> None:
            seen.extend(sample["file_name"] for sample in inputs[0])
            if len(seen) == 2:
                after()

        model.register_forward_pre_hook(note)
        return evaluate(model, cfg, DATASET)  # type: ignore[arg-type]

    with pytest.raises(FileNotFoundError, match=rf"{images}/\d\.jpg does not exist"):
        watched(lambda: images.rename(tmp_path / "unplugged"))
    (tmp_path / "unplugged").rename(images)
    begun = seen.copy()
    seen.clear()
    resumed = watched(lambda: None)
    assert len(seen) == 5 - len(begun)
    assert not set(seen) & set(begun)
    shutil.rmtree(tmp_path / "output")
    assert watched(lambda: None) == resumed


@pytest.mark.parametrize("shift", [-30 * YEAR, 10 * YEAR])
def test_clocks_do_not_decide_what_is_done(photos: Path, shift: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photos, "out") == 0
    for path in (photos.parent / "out").rglob("*"):
        os.utime(path, (time.time() + shift, time.time() + shift))
    capsys.readouterr()
    assert run(photos, "out", "--resume") == 0
    assert "3 of 3 images are done already" in capsys.readouterr().out
    shutil.copyfile(photos / "2.png", photos / "0.png")
    os.utime(photos / "0.png", (time.time() + shift, time.time() + shift))
    assert run(photos, "out", "--resume") == 0
    assert "2 of 3 images are done already" in capsys.readouterr().out
