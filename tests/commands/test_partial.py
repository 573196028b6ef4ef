"""The folder of a run over a video: what is left of it when a process dies while it is deleted."""

import shutil
from pathlib import Path

import pytest
import torch

from fcclip.commands.partial import PartialRun


def test_a_folder_that_is_half_deleted_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, cpu = {"input": "clip.mp4"}, torch.device("cpu")
    run = PartialRun.open(tmp_path / "out.partial", settings, False, cpu)
    run.note({"frame": 1})
    run.commit(None, None)
    assert PartialRun.open(run.folder, settings, True, cpu).frames == 1

    def die(folder: Path, ignore_errors: bool) -> None:
        (folder / "frames.jsonl").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", die)
    with pytest.raises(KeyboardInterrupt):
        run.remove()
    monkeypatch.undo()
    assert PartialRun.open(run.folder, settings, True, cpu).frames == 0
