"""Pictures to begin with, which the package renders itself, with names that fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fcclip.data.panoshapes import render_scene

SIZE = (320, 448)  # height and width in pixels


@dataclass(frozen=True)
class Example:
    """A picture to begin with.

    Attributes:
        title: what is on the button.
        seed: of the scene.
        names: what to look for.
    """

    title: str
    seed: int
    names: str

    def render(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB; the same in every run."""
        return render_scene(np.random.default_rng(self.seed), *SIZE).image


EXAMPLES = (
    Example(
        "Hearts and arrows",
        10,
        "red heart; red flower; red arrow; orange arrow; water=stuff; tiles=stuff; lava=stuff",
    ),
    Example(
        "Shapes in the snow",
        13,
        "cyan crescent; green ring; red triangle; yellow flower; snow=stuff; tiles=stuff; wood=stuff",
    ),
    Example("Grass and water", 44, "cyan triangle; yellow circle; grass=stuff; water=stuff; tiles=stuff"),
)
