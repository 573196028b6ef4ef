"""How a result is drawn: every choice in one place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

View = Literal["panoptic", "semantic", "instances"]
Labels = Literal["on", "legend", "both", "none"]
Palette = Literal["names", "color-blind"]

LABELS: tuple[Labels, ...] = get_args(Labels)
PALETTES: tuple[Palette, ...] = get_args(Palette)


@dataclass(frozen=True)
class DrawStyle:
    """What can be chosen of a picture.

    Attributes:
        alpha: opacity of the colours, 0..1.
        view: "panoptic", "semantic" or "instances"; None for the first of these that the result has.
        classes: only these, by any of their names; None for all.
        labels: names "on" the regions, where there is room for them; in a "legend" below the picture; "both"; "none".
        scores: write scores behind the names; None for those of instances only.
        boxes: draw the boxes of things.
        outlines: draw outlines only, in the colours of the regions.
        palette: "names" (colours that belong to the names; "red car" is red) or "color-blind" (eight colours that
            nearly all eyes tell apart, then shades of them).
        side_by_side: the picture itself on the left, the drawn one on the right.
        transparent: leave the picture out: an RGBA picture to lay over it.
        font: a font file that is tried first, for scripts of which the machine has no font.

    Raises:
        ValueError: a choice is not among those above.

    Examples:
        >>> DrawStyle(alpha=0.5, labels="legend", palette="color-blind").labels
        'legend'
        >>> DrawStyle(labels="everywhere")
        Traceback (most recent call last):
        ValueError: labels is one of on, legend, both, none, not "everywhere"
    """

    alpha: float = 0.7
    view: View | None = None
    classes: tuple[str, ...] | None = None
    labels: Labels = "on"
    scores: bool | None = None
    boxes: bool = False
    outlines: bool = False
    palette: Palette = "names"
    side_by_side: bool = False
    transparent: bool = False
    font: str | Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha is an opacity between 0 and 1, not {self.alpha}")
        for name, value, choices in (
            ("labels", self.labels, LABELS),
            ("palette", self.palette, PALETTES),
            ("view", self.view, (None, *get_args(View))),
        ):
            if value not in choices:
                raise ValueError(f'{name} is one of {", ".join(map(str, choices))}, not "{value}"')
        if self.transparent and self.side_by_side:
            raise ValueError("a transparent picture has no picture beside it; choose transparent or side_by_side")
        if isinstance(self.classes, str):
            raise ValueError(f'classes is a tuple of names, such as ("{self.classes}",)')
        if self.font is not None and not Path(self.font).is_file():
            raise ValueError(f"there is no font file {self.font}")


DEFAULT_STYLE = DrawStyle()
