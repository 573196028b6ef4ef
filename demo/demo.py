#!/usr/bin/env python3
"""Segment images, a video or a camera's pictures by the names you give.

    python demo/demo.py --input photo.jpg --output segmented.png --vocabulary "cat,kitten; sofa; wall=stuff"
    python demo/demo.py --input photos/ "more/*.png" --output results/ --add-vocabulary coco ade
    python demo/demo.py --video-input clip.mp4 --output results/ --vocabulary-file names.txt

Without a vocabulary the classes of COCO, ADE20K and LVIS are looked for: 1,486, which takes long to encode the first
time. The exit code is 0, or 1 if an image or frame had to be skipped, or 2 if nothing could be started.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # to run from a checkout that is not installed

from fcclip.config import CfgNode
from fcclip.data.builtin_vocabularies import BUILTIN_VOCABULARIES, builtin_vocabulary, join_vocabularies
from fcclip.drawing.window import Window
from fcclip.files.atomic import write_json
from fcclip.files.images import IMAGE_SUFFIXES, find_images
from fcclip.files.video import VideoError, VideoReader, VideoWriter, open_video_writer
from fcclip.segmentation import Segmentation
from fcclip.segmentation_output import save_picture
from fcclip.segmenter import OnError, Segmenter, read_config
from fcclip.vocabulary import Vocabulary
from fcclip.zoo import find_pretrained

REPOSITORY = Path(__file__).resolve().parent.parent
DEFAULT_CONFIG = REPOSITORY / "configs/coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_ade20k.yaml"
FAILURES = (OSError, ValueError, MemoryError, torch.cuda.OutOfMemoryError)  # of one image; the others go on


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--config-file", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="YAML of the model")
    model.add_argument(
        "--model", metavar="NAME", help='a trained model: "panoshapes", "fcclip_convnext_large", ... or a checkpoint'
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="PATH", help="images, folders of images, or globs")
    source.add_argument("--video-input", metavar="FILE", help="a video file")
    source.add_argument("--webcam", action="store_true", help="the first camera")
    parser.add_argument("--output", type=Path, metavar="PATH", help="file or folder to write; without it, a window")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to a JSON file")
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--vocabulary", metavar="NAMES", help='classes to look for: "cat,kitten; sofa; wall=stuff"')
    names.add_argument("--vocabulary-file", type=Path, metavar="FILE", help="a file with one such class a line")
    parser.add_argument(
        "--add-vocabulary",
        nargs="+",
        choices=BUILTIN_VOCABULARIES,
        metavar="LIST",
        help=f"look for the classes of {', '.join(BUILTIN_VOCABULARIES)} (any of them) as well",
    )
    parser.add_argument(
        "--confidence-threshold", type=_probability, default=0.0, metavar="P", help="drop what scores less (0..1)"
    )
    parser.add_argument(
        "--batch-size",
        type=_positive,
        default=1,
        metavar="N",
        help="images of one size, or frames, that are segmented together; more than 1 may be faster on a GPU",
    )
    parser.add_argument("--device", help='"cpu", "cuda", "mps"; by default the GPU where there is one')
    parser.add_argument("--random-weights", action="store_true", help="run without trained weights, to try things out")
    parser.add_argument("--fast", action="store_true", help="compute in bfloat16, at a small loss of precision")
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="configuration to override; comes last",
    )
    return parser.parse_args(arguments)


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def main(arguments: list[str] | None = None) -> int:
    options = parse_arguments(arguments)
    report = Report(keep_results=options.json is not None)
    with ExitStack() as stack:
        try:
            _check_paths(options)
            job = _open_source(options, report, stack)
            needs_window = options.output is None and options.json is None
            window = stack.enter_context(Window("FC-CLIP")) if needs_window else None
            found = find_pretrained(options.model) if options.model else None
            cfg = read_config(
                found.config if found else options.config_file,
                options.opts,
                found.weights if found else None,
                device=options.device,
                random_weights=options.random_weights,
                fast=options.fast,
            )
            vocabulary = _choose_vocabulary(options, cfg)
            tell_vocabulary(vocabulary)
            torch.manual_seed(0)  # random weights, if asked for, are the same in every run
            segmenter = Segmenter.from_cfg(cfg)
            segmenter.set_vocabulary(vocabulary)
        except VideoError as error:
            print(f"demo.py: {error}", file=sys.stderr)
            return 2 if options.webcam else 1  # the file is there, but damaged
        except (OSError, ValueError, RuntimeError) as error:
            print(f"demo.py: {error}", file=sys.stderr)
            return 2
        try:
            job.run(Demo(segmenter, options.confidence_threshold, report, window, options.batch_size))
        except VideoError as error:
            report.skip(str(error))
        except KeyboardInterrupt:
            report.skip("the rest, because the run was interrupted")
        finally:
            if options.json is not None:
                report.write(options.json, vocabulary)
    if report.problems:
        print("\n".join([f"demo.py: skipped {len(report.problems)}:", *report.problems]), file=sys.stderr)
    return 1 if report.problems else 0


def tell_vocabulary(vocabulary: Vocabulary) -> None:
    """Print what was understood, and what may have been meant."""
    print(vocabulary.describe())
    for hint in vocabulary.hints:
        print(f"hint: {hint}")


def _choose_vocabulary(options: argparse.Namespace, cfg: CfgNode) -> Vocabulary:
    """The user's classes and the built-in lists asked for; all of those if nothing was asked for."""
    chosen = []
    if options.vocabulary is not None:
        chosen.append(Vocabulary.from_string(options.vocabulary))
    elif options.vocabulary_file is not None:
        chosen.append(Vocabulary.from_file(options.vocabulary_file))
    lists = options.add_vocabulary or ([] if chosen else BUILTIN_VOCABULARIES)
    directory = cfg.MODEL.FC_CLIP.VOCABULARY_DIR
    chosen += [builtin_vocabulary(name, directory) for name in dict.fromkeys(lists)]
    return chosen[0] if len(chosen) == 1 else join_vocabularies(chosen)


def _check_paths(options: argparse.Namespace) -> None:
    if options.json is not None and options.json.is_dir():
        raise ValueError(f"--json {options.json} is a folder; name a file in it")
    output = options.output
    if output is not None and output.is_file() and output.suffix.lower() not in {*IMAGE_SUFFIXES, ".mp4"}:
        raise ValueError(
            f"--output {output} is a file of another kind; give a folder or the name of a picture or video"
        )


def _open_source(options: argparse.Namespace, report: Report, stack: ExitStack) -> ImageJob | VideoJob:
    """Find what to segment and where the results go, before a model is built in vain."""
    if options.input is None:
        reader = stack.enter_context(VideoReader(0 if options.webcam else options.video_input))
        return VideoJob(reader, _plan_video(reader, options.output))
    images, problems = find_images(options.input)
    if not images:
        raise ValueError("; ".join(problems))
    for problem in problems:
        report.skip(problem)
    return ImageJob(_plan_pictures(images, options.output))


def _plan_pictures(images: list[Path], output: Path | None) -> dict[Path, Path | None]:
    """Where the picture of each image is written: no two to one file, and none over an input."""
    if output is None:
        return dict.fromkeys(images)
    if output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir():
        if len(images) > 1:
            raise ValueError(f"--output {output} is one file, but there are {len(images)} images; give a folder")
        plan = {images[0]: output}
    else:
        plan = {image: output / _picture_name(image) for image in images}
    inputs = {image.resolve() for image in images}
    uses = Counter(plan.values())
    for image, picture in plan.items():
        if picture.resolve() in inputs:
            raise ValueError(f"{picture} would be written over an input; give another --output")
        if uses[picture] > 1:
            raise ValueError(f"two inputs are called {image.name}, like the picture of both; give them one by one")
    return dict(plan)


def _picture_name(image: Path) -> str:
    return image.name if image.suffix.lower() in IMAGE_SUFFIXES else f"{image.name}.png"


def _plan_video(reader: VideoReader, output: Path | None) -> Path | None:
    """Where the video is written: `output` itself if it ends in .mp4, else a file in that folder."""
    if output is None:
        return None
    source = Path(reader.name)
    target = output / f"{source.stem}.mp4" if output.is_dir() or not output.suffix else output
    if target.suffix.lower() != ".mp4":
        raise ValueError(f"videos are written as .mp4, so --output cannot be {output}")
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} would be written over the input; give another --output")
    return target


@dataclass
class Report:
    """What a run has to tell at its end.

    Attributes:
        keep_results: collect a record an image or frame, for JSON.
        results: those records.
        problems: one sentence for everything that was skipped.
    """

    keep_results: bool
    results: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, result: Segmentation, **where: Any) -> None:
        if self.keep_results:
            self.results.append({**where, **result.to_dict()})

    def skip(self, problem: str) -> None:
        self.problems.append(problem)
        tqdm.write(f"skipped: {problem}", file=sys.stderr)

    def skip_image(self, name: str, error: Exception) -> None:
        """Note that an image failed; what no image can be blamed for is raised."""
        if not isinstance(error, FAILURES):
            raise error
        self.skip(str(error) if name in str(error) else f"{name}: {error}")

    def write(self, path: Path, vocabulary: Vocabulary) -> None:
        classes = [{"names": list(category.names), "is_thing": category.is_thing} for category in vocabulary.categories]
        write_json(path, {"vocabulary": classes, "results": self.results, "skipped": self.problems})


@dataclass
class Demo:
    """A segmenter, and what is done with every result."""

    segmenter: Segmenter
    threshold: float
    report: Report
    window: Window | None
    batch_size: int

    def stream(self, images: Iterable[Path | np.ndarray], on_error: OnError) -> Iterator[Segmentation | None]:
        """Results of the images, in their order; see `Segmenter.stream`."""
        for result in self.segmenter.stream(images, self.batch_size, on_error=on_error):
            yield None if result is None else result.above(self.threshold)


@dataclass
class ImageJob:
    """Images, each with the file its picture goes to, if any."""

    outputs: dict[Path, Path | None]

    def run(self, demo: Demo) -> None:
        """Segment every image; one that fails is named, and the others go on. Esc in the window ends it."""
        paths = list(self.outputs)
        start = time.perf_counter()

        def skip(place: int, error: Exception) -> None:
            demo.report.skip_image(str(paths[place]), error)

        results = demo.stream(tqdm(paths, desc="images", unit="image"), skip)
        for path, result in zip(paths, results, strict=True):
            if result is None:
                continue
            seconds = time.perf_counter() - start
            try:
                if not self._present(demo, path, result, seconds):
                    break
            except FAILURES as error:
                demo.report.skip_image(str(path), error)
            start = time.perf_counter()

    def _present(self, demo: Demo, path: Path, result: Segmentation, seconds: float) -> bool:
        """Print, write and show what was found; False if the user wants no more."""
        height, width = result.size
        tqdm.write(f"\n{path}: {width}x{height} pixels, {seconds:.1f} s\n{result.table()}")
        demo.report.add(result, file=str(path))
        output = self.outputs[path]
        if output is not None:
            save_picture(output, result.draw())
            tqdm.write(f"picture: {output}")
        return demo.window is None or demo.window.show(result.draw())


@dataclass
class VideoJob:
    """A video or camera, and the file its pictures go to, if any."""

    reader: VideoReader
    output: Path | None

    def run(self, demo: Demo) -> None:
        """Segment every frame; what is written before an interruption is kept. Esc in the window ends it."""
        frames = iter(tqdm(self.reader, total=self.reader.frame_count, desc="frames", unit="frame"))
        first = next(frames)
        seen: Counter[str] = Counter()
        count = 0
        with ExitStack() as stack:
            writer = self._open_writer(first, stack)
            try:
                for count, result in enumerate(demo.stream(chain([first], frames), self._skip(demo)), start=1):
                    if result is None:
                        continue
                    seen.update(result.names())
                    demo.report.add(result, file=self.reader.name, frame=count)
                    if not self._show(demo, result, writer):
                        break
            except KeyboardInterrupt:
                demo.report.skip(f"{self.reader.name}: the run was interrupted after frame {count}")
        for problem in self.reader.problems:
            demo.report.skip(problem)
        tqdm.write(f"\n{self.reader.name}: {count} frames")
        for name, frames_with_it in seen.most_common():
            tqdm.write(f"{name}: in {frames_with_it} frames")
        if self.output is not None:
            tqdm.write(f"video: {self.output}")

    def _skip(self, demo: Demo) -> OnError:
        def skip(place: int, error: Exception) -> None:
            demo.report.skip_image(f"{self.reader.name}, frame {place + 1}", error)

        return skip

    def _open_writer(self, frame: np.ndarray, stack: ExitStack) -> VideoWriter | None:
        if self.output is None:
            return None
        height, width = frame.shape[:2]
        return stack.enter_context(open_video_writer(self.output, self.reader.fps, (width, height)))

    @staticmethod
    def _show(demo: Demo, result: Segmentation, writer: VideoWriter | None) -> bool:
        """Write and show a frame; False if the user wants no more."""
        if writer is None and demo.window is None:
            return True
        picture = result.draw()
        if writer is not None:
            writer.write(picture)
        return demo.window is None or demo.window.show(picture, wait=False)


if __name__ == "__main__":
    sys.exit(main())
