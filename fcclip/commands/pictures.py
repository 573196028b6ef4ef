"""Segmenting images: where the picture of each is written, and the way from the file to it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from fcclip.commands.results import FAILURES, Demo
from fcclip.files.images import IMAGE_SUFFIXES
from fcclip.formats.picture import save_picture
from fcclip.segmentation import Segmentation


def plan_pictures(images: list[Path], output: Path | None) -> dict[Path, Path | None]:
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
