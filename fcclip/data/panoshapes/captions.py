"""Captions of objects and of stuff, in the varied ways in which people put the same thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fcclip.data.panoshapes.classes import CLASSES, PATTERNS, ShapesClass
from fcclip.data.panoshapes.scene import DIAMETER, Segment

# A thing takes an article, stuff as well in the prompts of FC-CLIP, so both occur with and without one.
FRAMES = (
    "{}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "a picture of the {}",
    "this is a photo of a {}.",
    "there is a {} in the scene",
    "there is the {} in the scene.",
    "a photo of a {} in the scene.",
    "here we see a {}",
)
STUFF_FRAMES = ("a patch of {}", "some {}", "nothing but {}", "a photo of {}.")
SIZES = ("small", "medium", "large")
AND = " and "


def caption_of_thing(
    rng: np.random.Generator, entry: ShapesClass, segment: Segment | None, surface: ShapesClass | None = None
) -> str:
    """One true sentence about an object: its class, and perhaps its pattern, its size and what it lies on.

    Args:
        entry: the object's class.
        segment: its record in the scene; None for what is true of all objects of the class.
        surface: the stuff it lies on, which may then be told.
    """
    words = [entry.name]
    if segment is not None and rng.random() < (0.5 if segment.pattern == "striped" else 0.15):
        words.insert(0, segment.pattern)
    if segment is not None and rng.random() < 0.4:
        words.insert(0, size_word(segment.size))
    caption = str(rng.choice(FRAMES)).format(" ".join(words))
    if surface is not None and rng.random() < 0.2:
        caption = f"{caption.rstrip('.')} on {surface.name}"
    return caption


def caption_of_stuff(rng: np.random.Generator, entry: ShapesClass) -> str:
    """One true sentence about a region of stuff."""
    frames: Sequence[str] = STUFF_FRAMES if rng.random() < 0.3 else FRAMES
    name = entry.name
    if rng.random() < 0.2:  # FC-CLIP's prompts give sizes to everything; for a region they tell nothing
        name = f"{rng.choice(SIZES)} {name}"
    return str(rng.choice(frames)).format(name)


def caption_of_scene(rng: np.random.Generator, names: Sequence[str]) -> str:
    """One true sentence about everything in a scene, in any order."""
    return str(rng.choice(("{}", "a photo of {}"))).format(AND.join(rng.permutation(np.array(names)).tolist()))


def size_word(size: float) -> str:
    """The third of the range of diameters in which a size (share of the image's shorter side) lies, as a word."""
    least, greatest = DIAMETER
    third = int(len(SIZES) * (size - least) / (greatest - least))
    return SIZES[min(max(third, 0), len(SIZES) - 1)]


def all_words() -> list[str]:
    """Texts that together have every word of every caption."""
    return [*FRAMES, *STUFF_FRAMES, *SIZES, *PATTERNS, " on ", AND, *(entry.name for entry in CLASSES)]
