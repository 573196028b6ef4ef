"""The picture of a result, drawn and written to a file."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fcclip.drawing.colors import RGB, vary_color
from fcclip.drawing.labels import Region
from fcclip.drawing.legend import Entry, add_legend
from fcclip.drawing.name_colors import vocabulary_colors
from fcclip.drawing.regions import draw_regions, font_size
from fcclip.drawing.style import DrawStyle, View
from fcclip.drawing.text import spell_out, unshown
from fcclip.files.atomic import atomic_path
from fcclip.formats.masks import NamedMask, choose_view, named_masks
from fcclip.formats.result import RANDOM_WEIGHTS_WARNING, Result

GAP = 4  # pixels of white between pictures that stand side by side


def draw_result(result: Result, style: DrawStyle) -> np.ndarray:
    """Paint a result over its picture; see `Segmentation.draw`."""
    painter = _Painter(result, style)
    label_map, regions = painter.regions()
    banner = RANDOM_WEIGHTS_WARNING if result.random_weights else ""
    picture = draw_regions(result.image, label_map, regions, style, banner)
    if style.side_by_side:
        gap = np.full((result.size[0], GAP, 3), 255, np.uint8)
        picture = np.concatenate([result.image, gap, picture], axis=1)
    if style.labels in ("legend", "both"):
        picture = add_legend(picture, painter.legend(), font_size(*result.size), painter.font)
    painter.warn()
    return picture


def drawn_regions(result: Result, style: DrawStyle) -> tuple[np.ndarray, list[Region]]:
    """What `draw_result` paints: an (H, W) map, and of its values the colours and labels.

    Raises:
        ValueError: the result lacks the view, or the style names a class that it has not.
    """
    return _Painter(result, style).regions()


@dataclass
class _Painter:
    """Decides the colours and the names of a picture.

    Attributes:
        counts: objects per class, in the order of the drawing.
        replaced: what is written instead of names that no font shows.
    """

    result: Result
    style: DrawStyle
    counts: Counter[int] = field(default_factory=Counter)
    replaced: dict[str, str] = field(default_factory=dict)

    @property
    def font(self) -> Path | None:
        return Path(self.style.font) if self.style.font else None

    def regions(self) -> tuple[np.ndarray, list[Region]]:
        """An (H, W) map and what its values are."""
        result, view = self.result, choose_view(self.result, self.style.view)
        classes = _chosen_classes(result, self.style.classes)
        masks = [mask for mask in named_masks(result, view) if mask.category_id in classes]
        if view == "panoptic":
            assert result.panoptic is not None
            return result.panoptic, [self._region(mask, view) for mask in masks]
        if view == "semantic":
            assert result.semantic is not None
            return result.semantic + 1, [self._region(mask, view) for mask in masks]
        masks.sort(key=lambda mask: mask.score or 0)  # the most certain on top
        label_map = np.zeros(result.size, np.int32)
        for mask in masks:
            x0, y0, x1, y1 = mask.box
            label_map[y0:y1, x0:x1][mask.crop] = mask.id
        return label_map, [self._region(mask, view) for mask in masks]

    def legend(self) -> list[Entry]:
        """A line per class that is drawn, with the number of its objects."""
        entries = []
        for category_id, count in self.counts.items():
            name = self._shown(self.result.name_of(category_id), category_id)
            is_thing = category_id in self.result.vocabulary.thing_ids
            text = f"{name} ×{count}" if is_thing and count > 1 else name
            entries.append(Entry(text, self._color(category_id)))
        return entries

    def warn(self) -> None:
        """Tell which names could not be written, and what stands for them."""
        if self.replaced:
            listed = ", ".join(f'"{shown}" stands for "{name}"' for name, shown in self.replaced.items())
            warnings.warn(
                f"no font on this machine shows some names: {listed}; install one (of Debian: fonts-noto) or give one "
                "as DrawStyle(font=...)",
                stacklevel=5,
            )

    def _region(self, mask: NamedMask, view: View) -> Region:
        track, rank = self._track(mask, view)
        color = vary_color(self._color(mask.category_id), self.counts[mask.category_id] if rank is None else rank)
        self.counts[mask.category_id] += 1
        label = self._shown(mask.name, mask.category_id)
        if track is not None:
            label += f" {track}"
        wanted = self.style.scores if self.style.scores is not None else view == "instances"
        if wanted and mask.score is not None:
            label += f" {100 * mask.score:.0f}%"
        return Region(mask.id, label, color, mask.is_thing and view != "semantic", mask.box)

    def _track(self, mask: NamedMask, view: View) -> tuple[int | None, int | None]:
        """Of an object of a video, its track, if that is not tentative, and which one of its class it is."""
        if view != "panoptic" or not mask.is_thing:
            return None, None
        segment = next(segment for segment in self.result.segments if segment.id == mask.id)
        return None if segment.is_tentative else segment.track, segment.rank

    def _color(self, category_id: int) -> RGB:
        own = self.result.vocabulary.categories[category_id].color
        if own is not None and self.style.palette == "names":
            return own
        names = tuple(category.name for category in self.result.vocabulary.categories)
        return vocabulary_colors(names, self.style.palette)[category_id]

    def _shown(self, name: str, category_id: int) -> str:
        """The name, or what can be written of it: symbols in words, else the number of its class, from 1."""
        if not unshown(name, self.font):
            return name
        spelled = spell_out(name, self.font)
        shown = f"#{category_id + 1}" if unshown(spelled, self.font) else spelled
        self.replaced[name] = shown
        return shown


def _chosen_classes(result: Result, names: tuple[str, ...] | None) -> set[int]:
    """Positions of the named classes in the vocabulary; of all without names."""
    categories = result.vocabulary.categories
    if names is None:
        return set(range(len(categories)))
    chosen = set()
    for name in names:
        found = {
            index for index, category in enumerate(categories) if name.casefold() in map(str.casefold, category.names)
        }
        if not found:
            raise ValueError(f'"{name}" is not among the names that were asked for; draw one of those')
        chosen |= found
    return chosen


def save_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture to an image file, atomically.

    Args:
        path: its suffix says in which format.
        picture: uint8, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        ValueError: the suffix is not that of an image format, or of one without transparency.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in Image.registered_extensions():
        raise ValueError(f'"{path.name}" does not end like an image file; use .png or .jpg')
    if picture.ndim == 3 and picture.shape[2] == 4 and suffix in (".jpg", ".jpeg"):
        raise ValueError(f'"{path.name}" would lose what is transparent; use .png')
    with atomic_path(path) as scratch:
        if suffix == ".png":
            scratch.write_bytes(encode_png(picture))
        else:
            Image.fromarray(picture).save(scratch, quality=95)


def encode_png(picture: np.ndarray) -> bytes:
    """The bytes of a PNG file; see `save_picture`.

    OpenCV's light compression: of a drawn photograph of 24 megapixels it is ten times as fast as Pillow's and smaller.
    """
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, order[picture.shape[2]])
    _, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    return data.tobytes()
