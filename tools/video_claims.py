#!/usr/bin/env python3
"""Measure on PanoShapes' clips what identities and votes over time are worth, as tables. See docs/video.md.

    python tools/video_claims.py --output output/video_claims
    python tools/video_claims.py --output output/video_claims --parts speed --stream-frames 2000

Each rule is given the same outputs of the network, on three sets of clips rendered from other seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
import numpy as np
import torch
from detectron2.data import DatasetCatalog
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

from fcclip import Category, Segmenter, Vocabulary
from fcclip.data.datasets.layouts import Record
from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.clip import render_clip
from fcclip.evaluation.metrics.histogram import count_pairs
from fcclip.evaluation.metrics.video_panoptic import count_frame
from fcclip.evaluation.report.repeats import mean_and_deviation
from fcclip.evaluation.video_files import VideoScores
from fcclip.files.atomic import atomic_path, write_json, write_text
from fcclip.files.images import read_image
from fcclip.files.panoptic import read_panoptic_png
from fcclip.files.process_memory import peak_bytes
from fcclip.inference.tracking.tracker import StreamTracker, TrackedFrame, TrackerOptions
from fcclip.inference.tracking.tracks import STUFF_OFFSET, Sighting, TrackBook, stuff_track
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.meta_arch.pictures import EncodedPicture
from fcclip.video.stream import TrackedStream, TrackingOptions
from fcclip.video.whole import WholeVideo

SETS = ("panoshapes_clips_a_video", "panoshapes_clips_b_video", "panoshapes_clips_c_video")
MEASURES = ("VPQ_1", "VPQ_4", "VPQ_8", "VPQ", "STQ_corrected", "AQ_corrected")
ROUNDS, TIMED_FRAMES = 5, 40
Segments = dict[int, int]  # id in a map -> class
Found = list[tuple[np.ndarray, Segments]]  # per frame the map of ids and its segments


@dataclass(frozen=True)
class Bench:
    """A model and the classes that it is asked for."""

    segmenter: Segmenter
    classes: Any

    @classmethod
    def of(cls, model: str, device: str | None, side: int) -> Bench:
        opts = ("MODEL.MASK_FORMER.TEST.INSTANCE_ON", "False", "INPUT.MIN_SIZE_TEST", str(side))
        segmenter = Segmenter.from_pretrained(model, opts, device)
        names = Vocabulary(tuple(Category((entry.name,), entry.is_thing) for entry in CLASSES))
        return cls(segmenter, segmenter.encode_vocabulary(names).to(segmenter.model.device))

    @property
    def model(self) -> FCCLIP:
        assert isinstance(self.segmenter.model, FCCLIP)
        return self.segmenter.model

    def encode(self, record: Record) -> list[EncodedPicture]:
        """What the network says of the frames of a clip."""
        return [self.segmenter.encode(read_image(frame["file_name"])) for frame in record["frames"]]

    def log_probabilities(self, picture: EncodedPicture) -> torch.Tensor:
        with torch.no_grad():
            return self.model.classify(picture.encoded.decoded, self.classes)[0]

    def merge(self, picture: EncodedPicture, log_probabilities: torch.Tensor) -> dict[str, Any]:
        encoded, things = picture.encoded, self.classes.vocabulary.thing_ids
        with torch.no_grad():
            return self.model.merge(log_probabilities, encoded.decoded.mask_logits[0], encoded.sizes, things, True)


def frame_by_frame(bench: Bench, pictures: Sequence[EncodedPicture]) -> Found:
    """Every frame on its own; ids are those of its map, never seen before."""
    found: Found = []
    for number, picture in enumerate(pictures):
        ids, segments = bench.merge(picture, bench.log_probabilities(picture))["panoptic_seg"]
        fresh = {
            s["id"]: (number + 1) * 1000 + s["id"] if s["isthing"] else stuff_track(s["category_id"]) for s in segments
        }
        found.append(_renamed(ids.cpu().numpy(), segments, fresh))
    return found


def slots(bench: Bench, pictures: Sequence[EncodedPicture], decay: float) -> Found:
    """Matching with the last frame; the id of an object is its slot. A decay of 0: the classes of the frame itself."""
    tracker: StreamTracker[EncodedPicture] = StreamTracker(
        TrackerOptions(look_ahead=0, memory_frames=1, memory_votes=1, vote_decay=decay, cut_cosine=-1)
    )
    found: Found = []
    for picture in pictures:
        queries = picture.encoded.decoded.query_embeddings[0]
        for voted in tracker.push(TrackedFrame(queries, bench.log_probabilities(picture), (), picture)):
            answer = bench.merge(picture, voted.log_probabilities)
            ids, segments = answer["panoptic_seg"]
            names = {
                s["id"]: int(voted.slots[query]) + 1 if s["isthing"] else stuff_track(s["category_id"])
                for s, query in zip(segments, answer["panoptic_queries"], strict=True)
            }
            found.append(_renamed(ids.cpu().numpy(), segments, names))
    return found


def tracks(bench: Bench, pictures: Sequence[EncodedPicture], look_ahead: int) -> Found:
    """`Segmenter.track`."""
    stream = TrackedStream(bench.segmenter.model, bench.classes, iter(pictures), look_ahead, TrackingOptions())
    return [(result.tracks(), {s.track or 0: s.category_id for s in result.segments}) for result in stream]


def whole_video(bench: Bench, pictures: Sequence[EncodedPicture]) -> Found:
    """`Segmenter.track_whole`, which is MinVIS_OV."""
    images = [picture.image for picture in pictures]
    results = WholeVideo(bench.segmenter.model, bench.classes, images, lambda _: iter(pictures))
    return [(result.tracks(), {s.track or 0: s.category_id for s in result.segments}) for result in results]


def _renamed(ids: np.ndarray, segments: Sequence[dict[str, Any]], names: dict[int, int]) -> tuple[np.ndarray, Segments]:
    """The map with other ids, and the segments that are in it."""
    present = set(np.unique(ids).tolist())
    table = np.zeros(int(ids.max()) + 1, np.int64)
    kept = [segment for segment in segments if segment["id"] in present]
    for segment in kept:
        table[segment["id"]] = names[segment["id"]]
    return table[ids], {names[segment["id"]]: segment["category_id"] for segment in kept}


RULES: dict[str, Callable[[Bench, Sequence[EncodedPicture]], Found]] = {
    "every frame on its own": frame_by_frame,
    "last-frame matching, class of the frame": lambda bench, pictures: slots(bench, pictures, 0.0),
    "votes of the past, ids are slots": lambda bench, pictures: slots(bench, pictures, 1.0),
    "votes of the past, tracks (`look_ahead=0`)": lambda bench, pictures: tracks(bench, pictures, 0),
    "votes of the past and 5 frames ahead (`Segmenter.track`)": lambda bench, pictures: tracks(bench, pictures, 5),
    "whole video (`Segmenter.track_whole`, MinVIS_OV)": whole_video,
}


@dataclass
class Switches:
    """How often an object that was found has another id than when it was found before.

    Attributes:
        changed, chances: of so many times that it was found again.
    """

    changed: int = 0
    chances: int = 0

    def add(self, record: Record, found: Found) -> None:
        last: dict[int, int] = {}
        for frame, (ids, _) in zip(record["frames"], found, strict=True):
            truth = read_panoptic_png(frame["pan_seg_file_name"])
            pairs = count_pairs(truth, ids)
            true_area = dict(zip(*np.unique(truth, return_counts=True), strict=True))
            area = dict(zip(*np.unique(ids, return_counts=True), strict=True))
            things = {s["id"] for s in frame["segments_info"] if s["isthing"]}
            for true, id_, shared in zip(*(column.tolist() for column in pairs), strict=True):
                is_found = true in things and 0 < id_ < STUFF_OFFSET
                if is_found and shared / (true_area[true] + area[id_] - shared) > 0.5:
                    self.chances += true in last
                    self.changed += last.get(true, id_) != id_
                    last[true] = id_


def measure(bench: Bench, dataset: str) -> dict[str, dict[str, float]]:
    """Rule -> measure -> value of one set of clips."""
    categories = {index: {"name": entry.name, "isthing": entry.is_thing} for index, entry in enumerate(CLASSES)}
    scores = {rule: VideoScores(categories) for rule in RULES}
    switches = {rule: Switches() for rule in RULES}
    for record in tqdm(DatasetCatalog.get(dataset), desc=dataset, unit="clip"):
        pictures = bench.encode(record)
        for rule, run in RULES.items():
            found = run(bench, pictures)
            scores[rule].add_video(
                record["video_id"], [_counts(*pair) for pair in zip(record["frames"], found, strict=True)]
            )
            switches[rule].add(record, found)
    return {
        rule: {
            **scores[rule].metrics(),
            "switches": switches[rule].changed,
            "found again": switches[rule].chances,
        }
        for rule in RULES
    }


def _counts(frame: Record, found: tuple[np.ndarray, Segments]) -> Any:
    ids, segments = found
    records = [{"id": id_, "category_id": category} for id_, category in segments.items()]
    truth = read_panoptic_png(frame["pan_seg_file_name"])
    return count_frame(truth, frame["segments_info"], ids, records, range(len(CLASSES)))


def table(results: Sequence[dict[str, dict[str, float]]]) -> str:
    """Mean and deviation over the sets."""
    rows = []
    for rule in RULES:
        cells = [mean_and_deviation([result[rule][measure] for result in results]) for measure in MEASURES]
        switched, chances = (sum(int(result[rule][key]) for result in results) for key in ("switches", "found again"))
        rows.append([rule, *cells, f"{switched} of {chances}"])
    headers = ["rule", "VPQ1", "VPQ4", "VPQ8", "VPQ", "STQ corrected", "AQ corrected", "id switches"]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def strip(bench: Bench, path: Path, frames: Sequence[int] = (0, 4, 8, 12, 16)) -> None:
    """A picture of some frames of the first clip, drawn with their tracks."""
    record = DatasetCatalog.get(SETS[0])[0]
    images = [read_image(frame["file_name"]) for frame in record["frames"]]
    results = list(bench.segmenter.track(images, vocabulary=bench.classes))
    rows = [np.concatenate([draw(results[number]) for number in frames], axis=1) for draw in (_plain, _drawn)]
    with atomic_path(path) as scratch:
        Image.fromarray(np.concatenate(rows)).save(scratch)


def _plain(result: Any) -> np.ndarray:
    return result.image


def _drawn(result: Any) -> np.ndarray:
    return result.draw()


def speed(bench: Bench, stream_frames: int) -> str:
    """Memory along a stream, frames per second with and without tracks, and the tracker's own cost at 250 queries."""
    lines = [f"{torch.get_num_threads()} threads, {bench.segmenter.model.device}"]
    marks = sorted({100, stream_frames // 4, stream_frames // 2, stream_frames})
    for number, _ in enumerate(bench.segmenter.track(_endless(stream_frames), vocabulary=bench.classes), start=1):
        if number in marks:
            lines.append(f"after {number} frames: peak of memory {_peak():.0f} MiB")
    for count in (100, stream_frames):
        for _ in bench.segmenter.track_whole(_Frames(count), vocabulary=bench.classes):
            pass
        lines.append(f"after {count} frames as a whole video: peak of memory {_peak():.0f} MiB")
    ways: tuple[Callable[..., Iterator[Any]], ...] = (bench.segmenter.track, bench.segmenter.stream)
    rates: list[list[float]] = [[], []]
    for _ in range(ROUNDS):  # in turns, so that both have the machine as it is
        for rate, run in zip(rates, ways, strict=True):
            start = time.perf_counter()
            for _ in run(_endless(TIMED_FRAMES), vocabulary=bench.classes):
                pass
            rate.append(TIMED_FRAMES / (time.perf_counter() - start))
    with_tracks, without = map(median, rates)
    lines.append(
        f"frames per second: {with_tracks:.2f} with tracks, {without:.2f} without (medians of {ROUNDS} rounds)"
    )
    for frames, votes in ((1, 1), (9, 5)):
        milliseconds = 1000 * tracker_seconds(frames, votes)
        lines.append(f"tracker, 250 queries, memory {frames}/{votes}: {milliseconds:.1f} ms per frame (median)")
    return "\n".join(lines)


def _peak() -> float:
    """The most memory so far, in MiB."""
    return peak_bytes() / 2**20


@dataclass(frozen=True)
class _Frames:
    """The same, to be read several times."""

    count: int

    def __iter__(self) -> Iterator[np.ndarray]:
        return _endless(self.count)


def _endless(count: int) -> Iterator[np.ndarray]:
    """The first clip over and over; every time round is a new shot."""
    frames = [scene.image for scene in render_clip(np.random.default_rng(0), 256, 256)]
    for number in range(count):
        yield frames[number % len(frames)]


def tracker_seconds(
    memory_frames: int, memory_votes: int, queries: int = 250, width: int = 256, objects: int = 20
) -> float:
    """Median seconds that matching, votes and tracks take for a frame of made-up embeddings."""
    generator = torch.Generator().manual_seed(0)
    things = torch.randn(queries, width, generator=generator)
    tracker: StreamTracker[torch.Tensor] = StreamTracker(
        replace(TrackerOptions(), memory_frames=memory_frames, memory_votes=memory_votes)
    )
    book, seconds = TrackBook(), []
    for _ in range(60):
        order = torch.randperm(queries, generator=generator)
        seen = (things + 0.25 * torch.randn(queries, width, generator=generator))[order]
        log_probabilities = torch.randn(queries, 134, generator=generator).log_softmax(dim=-1)
        start = time.perf_counter()
        for voted in tracker.push(TrackedFrame(seen, log_probabilities, (), seen)):
            first = voted.slots.argsort()[:objects]
            book.assign([Sighting(0, slot, voted.payload[query]) for slot, query in enumerate(first.tolist())])
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[20:]))


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="panoshapes", help="a trained model of that world (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=("table", "strip", "speed"), default=["table", "strip"])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="sets of clips (default: all three)")
    parser.add_argument("--stream-frames", type=int, default=2000, help="of the speed part (default: %(default)s)")
    parser.add_argument("--device", help="default: the GPU where there is one")
    parser.add_argument("--output", type=Path, default=Path("output/video_claims"), help="default: %(default)s")
    parser.add_argument("--side", type=int, default=256, help="pixels, of frames in the network (default: %(default)s)")
    options = parser.parse_args(arguments)
    bench = Bench.of(options.model, options.device, options.side)
    if "table" in options.parts:
        results = [measure(bench, dataset) for dataset in options.sets]
        write_json(options.output / "results.json", dict(zip(options.sets, results, strict=True)), indent=2)
        write_text(options.output / "table.md", table(results) + "\n")
        print(table(results))
    if "strip" in options.parts:
        strip(bench, options.output / "strip.png")
    if "speed" in options.parts:
        report = speed(bench, options.stream_frames)
        write_text(options.output / "speed.txt", report + "\n")
        print(report)


if __name__ == "__main__":
    main()
