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


def frame(track: int | None = 7, name: str = "cat", hits: int | None = None, scale: int = 1) -> Segmentation:
    """A sky, and in its right half an object of a track."""
    height, width = 4 * scale, 6 * scale
    middle, area = width // 2, height * width // 2
    panoptic = np.ones((height, width), np.int32)
    panoptic[:, middle:] = 2
    sky = Segment(1, "sky", 1, False, 0.8, area, (0, 0, middle, height), 1_000_002)
    thing = Segment(2, name, 0, True, 0.9, area, (middle, 0, width, height), track, 0, hits)
    return Segmentation(np.zeros((height, width, 3), np.uint8), VOCABULARY, panoptic, (sky, thing))


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


def test_a_tentative_object_is_drawn_without_its_number():
    def drawn(track: int, hits: int | None) -> np.ndarray:
        return frame(track, hits=hits, scale=40).draw()

    assert np.array_equal(drawn(7, 2), drawn(12, 2))
    assert not np.array_equal(drawn(7, 3), drawn(12, 3))
    assert np.array_equal(drawn(7, 3), drawn(7, None))
    assert frame(hits=2).segments[1].is_tentative
    assert not frame(hits=3).segments[1].is_tentative
    assert not frame().segments[0].is_tentative, "stuff"
