"""Lines of text in any script that a font of this machine shows, emoji in their colours."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from fcclip.drawing.colors import RGB
from fcclip.drawing.fonts import default_font, font_for, open_font, script_of

CAPITAL_HEIGHT = 0.76  # of the font's size; labels are at least as high, so that they are alike
BELOW_LINE = 0.2
EMOJI_SCALE = 0.82  # makes them as high as a line of letters
JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")  # change the glyph before them and have none of their own


@dataclass(frozen=True)
class Run:
    """A stretch of text in one font; `scale` shrinks a font of bitmaps to the size of the line."""

    text: str
    font: ImageFont.FreeTypeFont
    scale: float
    in_color: bool

    @property
    def width(self) -> float:
        return self.font.getlength(self.text) * self.scale


class TextLine:
    """A line of text that has been measured and can be drawn.

    Args:
        text: in any script; characters that no font shows are left out, ask `unshown` for them before.
        size: pixels.
        first: a font file to try before all others.

    Attributes:
        size, width: pixels.
        ascent, descent: pixels above and below the line that letters stand on.
    """

    def __init__(self, text: str, size: int, first: Path | None = None) -> None:
        self.size = size
        self.runs = _runs(text, size, first)
        self.width = math.ceil(sum(run.width for run in self.runs))
        boxes = [run.font.getbbox(run.text, anchor="ls") for run in self.runs if not run.in_color]
        self.ascent = math.ceil(max([CAPITAL_HEIGHT * size, *(-box[1] for box in boxes)]))
        self.descent = math.ceil(max([BELOW_LINE * size, *(box[3] for box in boxes)]))

    @property
    def height(self) -> int:
        return self.ascent + self.descent

    def draw(self, canvas: Image.Image, left: float, baseline: float, color: RGB) -> None:
        """Write into an RGB or RGBA picture."""
        drawing = ImageDraw.Draw(canvas)
        for run in self.runs:
            if run.in_color:
                _paste_emoji(canvas, run, round(left), round(baseline + self.descent - self.height))
            else:
                fill = color if canvas.mode == "RGB" else (*color, 255)
                drawing.text((left, baseline), run.text, font=run.font, anchor="ls", fill=fill)
            left += run.width


@lru_cache(maxsize=4096)
def unshown(text: str, first: Path | None = None) -> str:
    """The characters of a text that no font of this machine shows; "" if all can be drawn."""
    return "".join(dict.fromkeys(char for char in text if not _is_silent(char) and font_for(char, first) is None))


def spell_out(text: str, first: Path | None = None) -> str:
    """The text with symbols and emoji that no font shows in words: "(cat face)"; other scripts stay as they are."""
    missing = unshown(text, first)
    words = {
        char: f"({unicodedata.name(char).lower()})" for char in missing if unicodedata.category(char) in ("So", "Sk")
    }
    return "".join(words.get(char, char) for char in text)


def _runs(text: str, size: int, first: Path | None) -> list[Run]:
    """Split a text where the font changes."""
    parts: list[tuple[str, Path | None, bool]] = []
    for char in text:
        font = font_for(char, first)
        if parts and (char in JOINERS or (font is None and unicodedata.category(char) == "Mn")):
            parts[-1] = (parts[-1][0] + char, *parts[-1][1:])
        elif font is None and default_font() is not None:
            continue
        else:
            in_color = script_of(char) == "emoji" and font is not None and "olor" in font.name
            if parts and parts[-1][1:] == (font, in_color):
                parts[-1] = (parts[-1][0] + char, font, in_color)
            else:
                parts.append((char, font, in_color))
    if parts and unicodedata.bidirectional(parts[0][0][0]) in ("R", "AL"):
        parts.reverse()
    runs = []
    for part, path, in_color in parts:
        opened = open_font(path, size)
        runs.append(Run(part, opened, EMOJI_SCALE * size / opened.size if in_color else 1.0, in_color))
    return runs


def _is_silent(char: str) -> bool:
    return char in JOINERS or char == " "


def _paste_emoji(canvas: Image.Image, run: Run, left: int, top: int) -> None:
    """Draw emoji at the size of their font and shrink them to that of the line."""
    box = run.font.getbbox(run.text)
    picture = Image.new("RGBA", (math.ceil(box[2]), math.ceil(box[3])))
    ImageDraw.Draw(picture).text((0, 0), run.text, font=run.font, embedded_color=True)
    width, height = (max(1, round(length * run.scale)) for length in picture.size)
    small = picture.resize((width, height), Image.Resampling.LANCZOS)
    if canvas.mode == "RGBA":
        canvas.alpha_composite(small, (max(0, left), max(0, top)))
    else:
        canvas.paste(small, (left, top), small)
