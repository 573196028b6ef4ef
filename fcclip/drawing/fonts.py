"""Fonts of this machine: which of them shows a character."""

from __future__ import annotations

import importlib.util
import os
import sys
import unicodedata
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

FONT_SUFFIXES = frozenset({".ttf", ".ttc", ".otf", ".otc"})
MOST_FONTS_READ = 200  # of those whose name does not tell that they have the script
OTHER_CUTS = ("bold", "italic", "oblique", "black", "light", "thin", "medium", "condensed", "serif", "mono")
# Words in the names of font files, by the first word of a character's Unicode name. Other scripts: that word itself.
CJK = ("cjk", "wqy", "droidsansfallback", "pingfang", "hiragino", "msyh", "simsun", "yugoth", "malgun", "gothic")
SCRIPT_FILES = {
    "cjk": CJK,
    "hiragana": CJK,
    "katakana": CJK,
    "hangul": (*CJK, "applesdgothic"),
    "emoji": ("emoji", "emj"),
    "devanagari": ("devanagari", "nirmala", "kohinoor", "mangal"),
    "thai": ("thai", "leelaw", "thonburi"),
}
# Scripts that come out wrong without a shaping engine.
SHAPED = frozenset(
    (
        *("arabic", "hebrew", "syriac", "thaana", "devanagari", "bengali", "gurmukhi", "gujarati", "oriya", "tamil"),
        *("telugu", "kannada", "malayalam", "sinhala", "thai", "lao", "tibetan", "myanmar", "khmer"),
    )
)
BITMAP_SIZES = (109, 136, 128, 160, 96, 64)  # at which coloured bitmap fonts may have their pictures


@lru_cache(maxsize=4096)
def font_for(character: str, first: Path | None = None) -> Path | None:
    """A font file that shows a character.

    Args:
        character: a single one.
        first: a font file to try before all others.

    Returns:
        The file; None if no font of this machine shows it, or only wrongly because Pillow cannot shape its script.
    """
    script = script_of(character)
    if script in SHAPED and not features.check("raqm"):
        return None
    code = ord(character)
    for path in (first, default_font()):
        if path is not None and code in _characters(path):
            return path
    hints = SCRIPT_FILES.get(script, (script,))
    named = [path for path in _system_fonts() if any(hint in path.name.lower() for hint in hints)]
    others = [path for path in _system_fonts() if path not in set(named)][:MOST_FONTS_READ]
    return next((path for path in [*named, *others] if code in _characters(path)), None)


def script_of(character: str) -> str:
    """The script of a character in small letters, such as "arabic" or "cjk"; "emoji" for pictures; "" if unknown."""
    if ord(character) >= 0x1F000 and unicodedata.category(character) in ("So", "Sk", "Cn"):
        return "emoji"
    return unicodedata.name(character, "").split(" ")[0].split("-")[0].lower()


@lru_cache(maxsize=256)
def open_font(path: Path | None, size: int) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels; of a font of bitmaps the size that it has. None is Pillow's own font.

    Raises:
        RuntimeError: Pillow was built without FreeType.
    """
    if path is None:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise RuntimeError("this Pillow was built without FreeType; install Pillow from the package index")
        return font
    for attempt in (size, *BITMAP_SIZES):
        try:
            return ImageFont.truetype(str(path), attempt)
        except OSError:
            continue
    raise RuntimeError(f"{path} cannot be opened as a font; name another one in DrawStyle")


@lru_cache(maxsize=1)
def default_font() -> Path | None:
    """DejaVu Sans, as matplotlib ships it (many alphabets); None without it."""
    spec = importlib.util.find_spec("matplotlib")  # finds the folder without importing matplotlib
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=1)
def _system_fonts() -> tuple[Path, ...]:
    """Font files of the system and the user; upright ones of usual weight first."""
    files = {path for folder in _font_folders() if folder.is_dir() for path in folder.rglob("*")}
    fonts = [path for path in files if path.suffix.lower() in FONT_SUFFIXES]
    return tuple(sorted(fonts, key=lambda path: (any(cut in path.stem.lower() for cut in OTHER_CUTS), str(path))))


def _font_folders() -> list[Path]:
    home = Path.home()
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts"]
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA", home)) / "Microsoft/Windows/Fonts"
        return [Path(os.environ.get("WINDIR", "C:/Windows")) / "Fonts", local]
    data = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    own = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
    return [Path(own) / "fonts", home / ".fonts", *(Path(folder) / "fonts" for folder in data.split(":"))]


@lru_cache(maxsize=512)
def _characters(path: Path) -> frozenset[int]:
    """The characters that a font has a glyph for; none if the file cannot be read."""
    from fontTools.ttLib import TTCollection, TTFont, TTLibError  # takes a moment; those who draw nothing need it not

    try:
        if path.suffix.lower() in (".ttc", ".otc"):
            font = TTCollection(str(path), lazy=True).fonts[0]
        else:
            font = TTFont(str(path), lazy=True)
        return frozenset(font.getBestCmap() or ())
    except (OSError, TTLibError, AssertionError, KeyError):
        return frozenset()
