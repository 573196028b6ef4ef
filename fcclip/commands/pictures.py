"""Segmenting images: where the picture of each is written, and the way from the file to it."""

from __future__ import annotations

import glob
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from fcclip.commands.folder import FolderRun, Place
from fcclip.commands.results import FAILURES, Demo
from fcclip.files.background import Background
from fcclip.files.cores import usable_cores
from fcclip.files.images import IMAGE_SUFFIXES
from fcclip.formats.picture import save_picture
from fcclip.segmentation import Segmentation

DRAWING_THREADS = max(1, min(4, usable_cores() - 1))


@dataclass(frozen=True)
class Images:
    """Images to segment.

    Attributes:
        names: each image with its name: its path below the folder that was given, else its file name.
        output: None, the file of the only picture, or the folder of the pictures.
        resume: leave out what an earlier run has done.
    """

    names: dict[Path, str]
    output: Path | None
    resume: bool = False

    @property
    def folder(self) -> Path | None:
        """The folder that many pictures go to."""
        return None if self.output is None or self.output in self.pictures.values() else self.output

    @property
    def pictures(self) -> dict[Path, Path]:
        """Where the picture of each image is written."""
        if self.output is None:
            return {}
        if self.output.suffix.lower() in IMAGE_SUFFIXES and not self.output.is_dir():
            return dict.fromkeys(self.names, self.output)
        return {image: self.output / _picture_name(name) for image, name in self.names.items()}


def plan_images(
    images: Sequence[Path], inputs: Sequence[str | Path], output: Path | None, resume: bool = False
) -> Images:
    """What is written where: no two pictures to one file, and none over an input.

    Args:
        images: the files.
        inputs: what they were found by; those of a folder keep their sub-folders.
        output: None, a file for the only picture, or a folder.
        resume: see `Images`.

    Raises:
        ValueError: two pictures would have one file, or one would replace an input, or there is nothing to resume.
    """
    bases = [base for base in map(_base_of, inputs) if base is not None]
    planned = Images({image: _name_below(image, bases) for image in images}, output, resume)
    if resume and planned.folder is None:
        raise ValueError("--resume goes on with the pictures of a folder; name it with --output")
    if output is not None and planned.folder is None and len(images) > 1:
        raise ValueError(f"--output {output} is one file, but there are {len(images)} images; give a folder")
    taken = {image.resolve() for image in images}
    uses = Counter(planned.pictures.values())
    for image, picture in planned.pictures.items():
        if picture.resolve() in taken:
            raise ValueError(f"{picture} would be written over an input; give another --output")
        if uses[picture] > 1:
            raise ValueError(
                f"two inputs are called {planned.names[image]}, like the picture of both; give them one by one"
            )
    return planned


def _base_of(name: str | Path) -> Path | None:
    """The folder that an input stands for: itself, or what is before the `**` of a glob."""
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if "**" not in path.parts:
        return None
    return Path(*path.parts[: next(place for place, part in enumerate(path.parts) if glob.has_magic(part))])


def _name_below(image: Path, bases: Sequence[Path]) -> str:
    for base in bases:
        if image.is_relative_to(base):
            return image.relative_to(base).as_posix()
    return image.name


def _picture_name(name: str) -> str:
    return name if Path(name).suffix.lower() in IMAGE_SUFFIXES else f"{name}.png"


@dataclass
class ImageJob:
    """Images that are segmented, drawn and written; drawing and writing go on beside the network."""

    images: Images

    def run(self, demo: Demo) -> None:
        """Segment every image; one that fails is named, and the others go on. Esc in the window ends it."""
        pictures = self.images.pictures
        places = {image: Place(image, self.images.names[image], picture) for image, picture in pictures.items()}
        folder = self.images.folder if len(places) > 1 or self.images.resume else None
        run = None if folder is None else FolderRun(folder, demo.identity, self.images.resume)
        done = set() if run is None else {place for place in places.values() if run.is_done(place)}
        if run is not None and done:
            tqdm.write(f"{len(done)} of {len(places)} images are done already")
            demo.report.add_records(run.record(place) for place in places.values() if place in done)
        missing = [image for image in self.images.names if places.get(image) not in done]
        try:
            self._segment(missing, demo, places, run)
        finally:
            demo.report.sort_records([str(image) for image in self.images.names])
            if run is not None:
                table = run.finish({place.name: place for place in places.values()})
                tqdm.write(f"\n{table}\nsummary: {run.folder}")

    def _segment(self, images: list[Path], demo: Demo, places: dict[Path, Place], run: FolderRun | None) -> None:
        def skip(place: int, error: Exception) -> None:
            demo.report.skip_image(str(images[place]), error)

        with (
            Background(demo.report.skip_image, DRAWING_THREADS) as drawing,
            Background(demo.report.skip_image) as formats,
        ):
            start = time.perf_counter()
            # A bar of one image tells nothing, and in a file of a log every step of a bar would be a line.
            bar = tqdm(images, desc="images", unit="image", disable=True if len(images) < 2 else None)
            results = demo.stream(bar, skip)
            for image, result in zip(images, results, strict=True):
                if result is None:
                    continue
                seconds, start = time.perf_counter() - start, time.perf_counter()
                self._tell(image, result, seconds)
                found = demo.report.record(result, str(image))
                if demo.report.writers:
                    formats.submit(str(image), _Export(demo, result, self.images.names[image]))
                if image in places:
                    drawing.submit(str(image), _Drawing(places[image], result, found, run))
                if demo.window is not None and not _show(demo, result, image):
                    break

    @staticmethod
    def _tell(image: Path, result: Segmentation, seconds: float) -> None:
        height, width = result.size
        tqdm.write(f"\n{image}: {width}x{height} pixels, {seconds:.1f} s\n{result.table()}")


@dataclass(frozen=True)
class _Export:
    """A job: write a result for other programs."""

    demo: Demo
    result: Segmentation
    name: str

    def __call__(self) -> None:
        self.demo.report.export(self.result, self.name)


@dataclass(frozen=True)
class _Drawing:
    """A job: draw a result, write the picture, and note that it is there."""

    place: Place
    result: Segmentation
    found: dict[str, object]
    run: FolderRun | None

    def __call__(self) -> None:
        save_picture(self.place.picture, self.result.draw())
        tqdm.write(f"picture: {self.place.picture}")
        if self.run is not None:
            self.run.add(self.place, self.result, self.found)


def _show(demo: Demo, result: Segmentation, image: Path) -> bool:
    """Show a result; False if the user wants no more."""
    assert demo.window is not None
    try:
        return demo.window.show(result.draw())
    except FAILURES as error:
        demo.report.skip_image(str(image), error)
        return True
