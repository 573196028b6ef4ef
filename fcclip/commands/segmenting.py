"""What `fcclip segment`, `fcclip video` and demo.py do once their flags are read; see `start_segmenting`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from fcclip.commands.choices import add_lists, read_model_config, read_vocabulary
from fcclip.commands.frame_source import open_frames
from fcclip.commands.frames import VideoChoices, VideoJob, plan_video_job
from fcclip.commands.hints import vocabulary_hints
from fcclip.commands.pictures import ImageJob, plan_images
from fcclip.commands.results import Demo, Report
from fcclip.drawing.window import Window
from fcclip.engine.errors import sentence_of
from fcclip.files.images import IMAGE_SUFFIXES, find_images
from fcclip.files.places import require_place
from fcclip.files.video import VideoError
from fcclip.formats.registry import open_format
from fcclip.formats.writer import Writer
from fcclip.segmenter import Segmenter


def segment(options: argparse.Namespace, program: str) -> int:
    """Segment what the options name; arguments and exit code are those of `start_segmenting`."""
    report = Report(keep_results=options.json is not None)
    with ExitStack() as stack:
        try:
            _check_paths(options)
            report.writers = open_formats(options.format, options.output)
            job = _open_source(options, report, stack)
            needs_window = options.output is None and options.json is None and not options.save_tracks
            window = stack.enter_context(Window("FC-CLIP")) if needs_window else None
            chosen = read_vocabulary(options)
            cfg = read_model_config(options)
            vocabulary = add_lists(chosen, options, cfg)
            print(
                "\n".join(
                    [vocabulary.describe(), *(f"hint: {hint}" for one in chosen for hint in vocabulary_hints(one))]
                )
            )
            torch.manual_seed(0)  # random weights, if asked for, are the same in every run
            segmenter = Segmenter.from_cfg(cfg)
            _check_tracks(options, segmenter)
            segmenter.set_vocabulary(vocabulary)
            threshold = options.confidence_threshold
            settings = {"model or --opts": cfg.dump(), "vocabulary": repr(vocabulary), "threshold": str(threshold)}
            demo = Demo(segmenter, threshold, report, window, options.batch_size, settings)
            if isinstance(job, VideoJob):
                job.begin(demo)
        except VideoError as error:
            print(f"{program}: {error}", file=sys.stderr)
            return 2 if options.webcam else 1  # the file is there, but damaged
        except (OSError, ValueError, RuntimeError) as error:
            print(f"{program}: {sentence_of(error)}", file=sys.stderr)
            return 2
        try:
            job.run(demo)
        except VideoError as error:
            report.skip(str(error))
        except KeyboardInterrupt:
            report.skip("the rest, because the run was interrupted")
        finally:
            report.finish_formats()
            if options.json is not None:
                report.write(options.json, vocabulary)
        if isinstance(job, VideoJob):
            job.tidy()
    if report.problems:
        print("\n".join([f"{program}: skipped {len(report.problems)}:", *report.problems]), file=sys.stderr)
    return 1 if report.problems else 0


def open_formats(names: Sequence[str], output: Path | None) -> list[Writer]:
    """The writers of the formats asked for, each with its own folder in the output."""
    if not names:
        return []
    if output is None or output.suffix.lower() in {*IMAGE_SUFFIXES, ".mp4"}:
        raise ValueError("--format writes many files; name a folder with --output")
    return [open_format(name, output / name) for name in dict.fromkeys(names)]


def _check_paths(options: argparse.Namespace) -> None:
    if options.json is not None:
        if options.json.is_dir():
            raise ValueError(f"--json {options.json} is a folder; name a file in it")
        require_place(options.json.parent)
    output = options.output
    if output is None:
        return
    if output.is_file() and output.suffix.lower() not in {*IMAGE_SUFFIXES, ".mp4"}:
        raise ValueError(
            f"--output {output} is a file of another kind; give a folder or the name of a picture or video"
        )
    require_place(output if output.is_dir() or not output.suffix else output.parent)


def _check_tracks(options: argparse.Namespace, segmenter: Segmenter) -> None:
    if options.save_tracks and (options.no_tracks or not segmenter.can_track):
        raise ValueError("--save-tracks needs tracks: leave out --no-tracks, or take a model that is panoptic")
    if isinstance(options.video_input, str) and options.whole and not segmenter.can_track:
        raise ValueError("--whole needs tracks: take a model that is panoptic")


def _open_video(options: argparse.Namespace, stack: ExitStack) -> VideoJob:
    if options.whole and (options.webcam or options.no_tracks or options.look_ahead is not None):
        raise ValueError("--whole is for files and looks at all frames; leave out --webcam, --no-tracks, --look-ahead")
    reader = open_frames(0 if options.webcam else options.video_input)
    stack.callback(reader.close)
    ahead = options.look_ahead if options.look_ahead is not None else (0 if options.webcam else 5)
    choices = VideoChoices(
        not options.no_tracks, ahead, options.every, options.save_tracks, options.resume, options.whole
    )
    return plan_video_job(reader, options.output, options.json, choices, is_camera=options.webcam)


def _open_source(options: argparse.Namespace, report: Report, stack: ExitStack) -> ImageJob | VideoJob:
    """Find what to segment and where the results go, before a model is built in vain."""
    if options.resume and options.format:
        raise ValueError(
            "--format needs the results of all images or frames, which --resume does not have; leave one out"
        )
    if options.input is None:
        return _open_video(options, stack)
    images, problems = find_images(options.input, options.subfolders)
    if options.subfolders and options.output is not None:
        results = options.output.resolve()
        images = [image for image in images if not image.resolve().is_relative_to(results)]
    if not images:
        raise ValueError("; ".join(problems) or "there are no images but those in --output")
    for problem in problems:
        report.skip(problem)
    return ImageJob(plan_images(images, options.input, options.output, options.resume))
