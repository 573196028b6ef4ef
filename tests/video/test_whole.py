"""`Segmenter.track_whole`: the rule of MinVIS_OV for users, with what is kept of each frame on the disk."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.clip import render_clip
from fcclip.files.disk_list import DiskList
from fcclip.inference.tracking.tracks import STUFF_OFFSET
from fcclip.meta_arch.minvis_ov import MinVIS_OV, VideoOptions
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Category, Vocabulary

NAMES = Vocabulary(tuple(Category((entry.name,), entry.is_thing) for entry in CLASSES))


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    opts = ("INPUT.MIN_SIZE_TEST", "128", "MODEL.META_ARCHITECTURE", "MinVIS_OV", "MODEL.MASK_FORMER.TEST.TASK", "vps")
    segmenter = Segmenter.from_pretrained("panoshapes", opts, device="cpu")
    segmenter.set_vocabulary(NAMES)
    return segmenter


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    return [scene.image for scene in render_clip(np.random.default_rng([2001, 4]), 96, 112, frames=6)]


class Again:
    """Frames that are read anew each time, as a file is; how often is counted."""

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.frames, self.passes = frames, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        self.passes += 1
        yield from self.frames


def test_results_are_those_of_minvis_ov(segmenter, frames):
    model = segmenter.model
    assert isinstance(model, MinVIS_OV)
    inputs = [segmenter._pictures.to_input(frame) for frame in frames]
    video = {"image": [one["image"] for one in inputs], "height": 96, "width": 112}
    model.video = VideoOptions(task="vps", window=1)
    with torch.no_grad():
        expected = model.answer_video(video, segmenter.encode_vocabulary(NAMES))
    source = Again(frames)
    results = list(segmenter.track_whole(source))
    assert source.passes == 3
    assert np.array_equal(np.stack([result.panoptic for result in results]), expected["pred_masks"].numpy())
    infos = {info["id"]: info for info in expected["segments_infos"]}
    assert sum(info["isthing"] for info in infos.values()) >= 2
    tracks: dict[int, int] = {}
    for frame, result in zip(frames, results, strict=True):
        assert np.array_equal(result.image, frame)
        for segment in result.segments:
            info = infos[segment.id]
            assert (segment.category_id, segment.is_thing) == (info["category_id"], info["isthing"])
            assert tracks.setdefault(segment.id, segment.track) == segment.track
            assert segment.is_thing == (segment.track < STUFF_OFFSET)
            assert not segment.is_tentative
            assert segment.scores[0].category_id == segment.category_id
            assert segment.scores[0].score == pytest.approx(segment.score, abs=1e-6)
            assert np.linalg.norm(segment.embedding) == pytest.approx(1, abs=1e-5)
    assert sorted(track for track in tracks.values() if track < STUFF_OFFSET) == list(range(1, 1 + sum(
        infos[id_]["isthing"] for id_ in tracks
    )))  # fmt: skip


def test_what_a_whole_video_needs_is_told(segmenter, frames):
    with pytest.raises(ValueError, match="as a list, not as an iterator"):
        segmenter.track_whole(iter(frames))
    with pytest.raises(ValueError, match="frames of one size; number 3 is 112x48"):
        list(segmenter.track_whole([*frames[:2], frames[2][:48]]))
    source = Again(frames[:3])
    results = segmenter.track_whole(source)
    results._match()
    source.frames = frames[:2]
    with pytest.raises(ValueError, match="were others when they were read again"):
        list(results._again(results._pictures()))
    assert list(segmenter.track_whole([])) == []


def test_a_list_on_the_disk():
    kept = DiskList()
    for number in range(5):
        kept.append(bytes([number]) * number)
    assert list(kept) == [b"", b"\1", b"\2\2", b"\3\3\3", b"\4\4\4\4"]
    assert kept[-1] == kept[4]
    assert kept[1:3] == [b"\1", b"\2\2"]
    with pytest.raises(IndexError):
        kept[5]
