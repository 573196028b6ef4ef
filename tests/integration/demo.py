"""What the tests of the demo start it with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import cbook

from fcclip.files.video_writer import open_video_writer

PHOTOGRAPH = Path(str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))
NAMES = "woman,person; hat,cap; flag; wall=stuff"

RunDemo = Callable[..., int]


def write_video(path: Path, count: int = 6) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (count, 48, 64, 3)).astype(np.uint8)
    with open_video_writer(path, 10, (64, 48)) as writer:
        for frame in noise:
            writer.write(frame)
    return path
