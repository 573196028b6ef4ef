"""Tracks as files in VIPSeg's layout and as lines."""

import json

import numpy as np

from fcclip.evaluation.video_files import score_video_panoptic_files
from fcclip.files.panoptic import read_panoptic_png
from fcclip.formats.result import Segment
from fcclip.formats.tracks import TrackFiles, TrackSummary
from fcclip.segmentation import Segmentation
from fcclip.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_string("cat; sky=stuff")


def frame(track: int | None = 7, name: str = "cat") -> Segmentation:
    """A sky, and in its right half an object of a track."""
    panoptic = np.ones((4, 6), np.int32)
    panoptic[:, 3:] = 2
    sky = Segment(1, "sky", 1, False, 0.8, 12, (0, 0, 3, 4), 1_000_002)
    thing = Segment(2, name, 0, True, 0.9, 12, (3, 0, 6, 4), track, 0)
    return Segmentation(np.zeros((4, 6, 3), np.uint8), VOCABULARY, panoptic, (sky, thing))


def test_files_are_what_the_command_scores(tmp_path):
    with TrackFiles(tmp_path, "clip", VOCABULARY) as files:
        for number in range(8):
            files.add(frame(), f"{number:08d}")
    ids = read_panoptic_png(tmp_path / "pan_pred/clip/00000003.png")
    assert np.unique(ids).tolist() == [7, 1_000_002]
    content = json.loads((tmp_path / "pred.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["cat", "sky"]
    paths = (tmp_path / "pred.json", tmp_path / "pan_pred")
    assert score_video_panoptic_files(*paths, *paths)["VPQ_script"] == 100


def test_objects_are_summed_up():
    summary = TrackSummary()
    for number in (1, 2, 5):
        summary.add(frame(), number)
    summary.add(frame(name="dog"), 6)
    summary.add(frame(track=9), 6)
    assert summary.lines() == ["cat 7: frames 1-6 (4 of them)", "in fewer than 3 frames: 1 object"]


def test_a_track_is_written_on_its_object_in_its_colour():
    regular, later = frame(), frame(track=12)
    # Both are the first of their class.
    assert regular.draw(labels="none").tolist() == later.draw(labels="none").tolist()
    record = regular.to_dict()["segments"][1]
    assert (record["track"], record["rank"]) == (7, 0)
