"""Clips: exact identities over time, and their files."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from fcclip.data.panoshapes.__main__ import main
from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.clip import HIDDEN_FRAMES, render_clip
from fcclip.data.panoshapes.clips import CLIP_SPLITS, ClipSplit, write_clips
from fcclip.files.panoptic import read_panoptic_png
from fcclip.files.video import VideoReader


def clip(seed: int = 0, **options):
    return list(render_clip(np.random.default_rng(seed), 96, 128, **options))


def things(scene) -> dict[int, int]:
    return {entry.id: entry.category for entry in scene.segments if CLASSES[entry.category].is_thing}


def test_an_id_is_the_same_object_in_every_frame():
    scenes = clip()
    classes: dict[int, set[int]] = {}
    for scene in scenes:
        assert {entry.id for entry in scene.segments} == set(np.unique(scene.ids).tolist())
        for id_, category in things(scene).items():
            classes.setdefault(id_, set()).add(category)
    assert len(scenes) == 20
    assert len(classes) >= 3
    assert all(len(categories) == 1 for categories in classes.values())


def test_objects_move_and_the_place_does_not():
    first, last = clip()[0], clip()[-1]
    thing = max(things(first).keys() & things(last).keys())
    assert not np.array_equal(first.ids == thing, last.ids == thing)
    stuff = [entry.id for entry in first.segments if not CLASSES[entry.category].is_thing]
    both = np.isin(first.ids, stuff) & np.isin(last.ids, stuff)
    assert np.array_equal(first.ids[both], last.ids[both])


def test_one_object_hides_for_a_while():
    """Of many clips, some show the hidden object on both sides of its absence."""
    absences = []
    for seed in range(12):
        present = [set(things(scene)) for scene in clip(seed)]
        for id_ in set.union(*present):
            seen = [number for number, ids in enumerate(present) if id_ in ids]
            absences += [b - a - 1 for a, b in pairwise(seen) if b - a > 1]
    assert HIDDEN_FRAMES in absences


def test_a_cut_goes_to_another_place_and_back():
    scenes = clip(frames=12, cuts=(4, 8))
    ids = [{entry.id for entry in scene.segments} for scene in scenes]
    assert not ids[3] & ids[4]
    assert ids[3] & ids[8]


def test_the_same_seed_gives_the_same_clip():
    assert all(np.array_equal(a.image, b.image) for a, b in zip(clip(3), clip(3), strict=True))


def test_a_clip_needs_things_and_stuff():
    with pytest.raises(ValueError, match="at least one thing class"):
        next(render_clip(np.random.default_rng(0), 32, 32, classes=CLASSES[-2:]))


def test_files_are_in_vipsegs_layout_and_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    monkeypatch.setitem(CLIP_SPLITS, "clips_a", ClipSplit("clips_a", 7, clips=2, frames=3))
    records = DatasetCatalog.get("panoshapes_clips_a_video")
    assert [(record["video_id"], record["length"]) for record in records] == [("000", 3), ("001", 3)]
    frame = records[1]["frames"][2]
    ids = read_panoptic_png(frame["pan_seg_file_name"])
    assert {segment["id"]: segment["area"] for segment in frame["segments_info"]} == dict(
        zip(*(values.tolist() for values in np.unique(ids, return_counts=True)), strict=True)
    )
    metadata = MetadataCatalog.get("panoshapes_clips_a_video")
    assert len(metadata.stuff_classes) == len(CLASSES)
    assert all(segment["category_id"] < len(CLASSES) for segment in frame["segments_info"])


def test_a_split_that_is_there_is_kept(tmp_path: Path):
    split = ClipSplit("tiny", 7, clips=1, frames=2)
    write_clips(tmp_path, split, side=48)
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert len(content["annotations"][0]["annotations"]) == 2
    (tmp_path / "images/000/00000.jpg").unlink()
    write_clips(tmp_path, split, side=48)
    assert not (tmp_path / "images/000/00000.jpg").exists()


@pytest.mark.parametrize("suffix", [".mp4", ".webp"])
def test_the_command_writes_a_clip(tmp_path: Path, capsys, suffix):
    file = tmp_path / f"clip{suffix}"
    main([str(file), "--frames", "3", "--width", "64", "--height", "48", "--seed", "4"])
    assert "=stuff" in capsys.readouterr().out
    if suffix == ".mp4":
        with VideoReader(file) as reader:
            assert [frame.shape for frame in reader] == [(48, 64, 3)] * 3
    else:
        with Image.open(file) as picture:
            assert picture.n_frames == 3
