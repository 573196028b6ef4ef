"""The classes of PanoShapes, and which of them a segmentation model does not see in training.

A thing is called by its colour and shape, "red star"; its pattern, plain or striped, is told in captions only. Two
shapes are unseen in every colour; of eight other shapes one colour each is unseen, so that both words, but not the two
together, occur in training; and two of the ten kinds of stuff are unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Hue, saturation and value in OpenCV's ranges (0..179, 0..255, 0..255) of each colour of things.
COLORS = {
    "red": (0, 225, 215),
    "orange": (13, 235, 245),
    "yellow": (28, 225, 245),
    "green": (58, 215, 165),
    "cyan": (90, 220, 225),
    "blue": (115, 225, 215),
    "purple": (143, 200, 190),
    "white": (0, 8, 245),
}
SHAPES = (
    "circle", "ring", "square", "triangle", "star", "cross",
    "heart", "arrow", "flower", "bolt", "crescent", "hourglass",
)  # fmt: skip
STUFF = ("grass", "brick", "water", "sand", "sky", "gravel", "snow", "tiles", "wood", "lava")
PATTERNS = ("plain", "striped")

UNSEEN_SHAPES = frozenset({"heart", "hourglass"})
UNSEEN_PAIRS = frozenset(
    {
        ("red", "star"), ("orange", "ring"), ("yellow", "crescent"), ("green", "arrow"),
        ("cyan", "triangle"), ("blue", "flower"), ("purple", "cross"), ("white", "square"),
    }
)  # fmt: skip
UNSEEN_STUFF = frozenset({"wood", "lava"})

# A part of the world that takes less training, with unseen classes of all three kinds.
FEW_COLORS = frozenset({"red", "yellow", "green", "blue"})
FEW_SHAPES = frozenset({"circle", "star", "crescent", "arrow", "flower", "heart"})
FEW_STUFF = frozenset({"grass", "brick", "water", "sand", "wood", "lava"})


@dataclass(frozen=True)
class ShapesClass:
    """A class of the world.

    Attributes:
        name: "red star", "grass".
        color, shape: of a thing; both empty for stuff.
        seen: whether segmentation models are trained on it.
    """

    name: str
    color: str = ""
    shape: str = ""
    seen: bool = True

    @property
    def is_thing(self) -> bool:
        return bool(self.shape)


def _things() -> list[ShapesClass]:
    return [
        ShapesClass(
            name=f"{color} {shape}",
            color=color,
            shape=shape,
            seen=shape not in UNSEEN_SHAPES and (color, shape) not in UNSEEN_PAIRS,
        )
        for shape in SHAPES
        for color in COLORS
    ]


# Things first, then stuff; the index of a class is its contiguous id.
CLASSES: tuple[ShapesClass, ...] = (*_things(), *(ShapesClass(name, seen=name not in UNSEEN_STUFF) for name in STUFF))
SEEN_CLASSES = tuple(entry for entry in CLASSES if entry.seen)
FEW_CLASSES = tuple(
    entry
    for entry in CLASSES
    if (entry.color in FEW_COLORS and entry.shape in FEW_SHAPES if entry.is_thing else entry.name in FEW_STUFF)
)


def unseen_ids(classes: Sequence[ShapesClass] = CLASSES) -> list[int]:
    """Contiguous ids of the classes that are unseen in training."""
    return [index for index, entry in enumerate(classes) if not entry.seen]


def group_of(entry: ShapesClass) -> str:
    """The group under which results are told: "seen thing", "unseen pair", "unseen shape", "seen stuff", ..."""
    if not entry.is_thing:
        return "seen stuff" if entry.seen else "unseen stuff"
    if entry.seen:
        return "seen thing"
    return "unseen shape" if entry.shape in UNSEEN_SHAPES else "unseen pair"
