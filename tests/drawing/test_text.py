"""Text in any script, or a word that it cannot be shown."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.drawing import fonts
from fcclip.drawing.fonts import default_font, font_for, script_of
from fcclip.drawing.text import TextLine, spell_out, unshown

DEJAVU = default_font()


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine that has only the font that comes with matplotlib."""
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    font_for.cache_clear()
    unshown.cache_clear()
    yield
    font_for.cache_clear()
    unshown.cache_clear()


def ink(line: TextLine) -> np.ndarray:
    """(H, W) bool: pixels that were written."""
    canvas = Image.new("RGB", (line.width + 20, line.height + 20))
    line.draw(canvas, 10, 10 + line.ascent, (255, 255, 255))
    return np.array(canvas).max(axis=-1) > 128


@pytest.mark.parametrize("text", ["cat", "Ёлка", "γάτα", "gjpqy"])
def test_text_stays_in_its_box(text: str) -> None:
    line = TextLine(text, 30)
    rows, columns = np.nonzero(ink(line))
    assert rows.min() >= 9
    assert rows.max() <= 11 + line.height
    assert columns.min() >= 8
    assert columns.max() <= 12 + line.width
    assert unshown(text) == ""


def test_labels_are_of_one_height() -> None:
    assert TextLine("cat", 30).height == TextLine("gnu", 30).height


def test_scripts() -> None:
    assert [script_of(char) for char in "猫قबแ🐈"] == ["cjk", "arabic", "devanagari", "thai", "emoji"]


@pytest.mark.usefixtures("no_system_fonts")
def test_what_no_font_shows_is_known_before() -> None:
    assert unshown("wug 猫") == "猫"
    assert spell_out("wug 猫") == "wug 猫"
    assert spell_out("🦒 zoo") == "(giraffe face) zoo"
    assert TextLine("wug 猫", 20).width == TextLine("wug ", 20).width, "no box is drawn"


@pytest.mark.usefixtures("no_system_fonts")
@pytest.mark.skipif(DEJAVU is None, reason="no font is here")
def test_a_font_of_ones_own_comes_first() -> None:
    own = Path(str(DEJAVU)).with_name("DejaVuSerif.ttf")
    assert font_for("a", own) == own
    assert font_for("a") == DEJAVU


def test_scripts_that_need_shaping_are_not_shown_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts.features, "check", lambda _: False)
    font_for.cache_clear()
    assert font_for("ق") is None
    assert font_for("я") == DEJAVU
    font_for.cache_clear()


def test_a_system_font_is_found_for_a_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "fonts"
    folder.mkdir()
    for name in ("NotoSansOther-Regular.ttf", "broken-cjk.ttf"):
        (folder / name).write_bytes(b"no font")
    monkeypatch.setattr(fonts, "_font_folders", lambda: [folder])
    fonts._system_fonts.cache_clear()
    font_for.cache_clear()
    assert font_for("猫") is None, "files that are no fonts are passed over"
    monkeypatch.setattr(fonts, "_characters", lambda path: {ord("猫")} if "cjk" in path.name else set())
    font_for.cache_clear()
    assert font_for("猫") == folder / "broken-cjk.ttf"
    fonts._system_fonts.cache_clear()
    font_for.cache_clear()
