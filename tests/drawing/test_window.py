"""The window's keys, with OpenCV's functions replaced: tests have no screen."""

import sys
from typing import Any

import cv2
import numpy as np
import pytest

from fcclip.drawing.window import ESCAPE, NO_KEY, Window

PICTURE = np.zeros((1600, 1000, 3), np.uint8)
PICTURE[..., 0] = 200  # red


class Screen:
    """Remembers what is shown, and presses keys."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: list[int]) -> None:
        self.keys = keys
        self.shown: list[np.ndarray] = []
        self.sizes: list[tuple[int, int]] = []
        self.visible = 1.0
        monkeypatch.setenv("DISPLAY", ":0")
        monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
        monkeypatch.setattr(cv2, "imshow", lambda _, picture: self.shown.append(picture))
        monkeypatch.setattr(cv2, "resizeWindow", lambda _, width, height: self.sizes.append((width, height)))
        monkeypatch.setattr(cv2, "waitKey", lambda _: self.keys.pop(0))
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: self.visible)
        monkeypatch.setattr(cv2, "destroyWindow", self._destroy)

    def _destroy(self, *_: Any) -> None:
        self.visible = 0.0


def test_a_key_goes_on_and_escape_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, [NO_KEY, NO_KEY, ord(" "), ESCAPE])
    with Window("title") as window:
        assert window.show(PICTURE)
        assert not window.show(PICTURE)
    assert screen.keys == []
    assert screen.visible == 0
    assert screen.sizes[0] == (500, 800), "a picture larger than the screen is shown smaller"
    assert (screen.shown[0][0, 0] == (0, 0, 200)).all(), "OpenCV shows BGR"


def test_a_video_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, [NO_KEY, ESCAPE])
    window = Window("title")
    assert window.show(PICTURE, wait=False)
    assert not window.show(PICTURE, wait=False)
    assert screen.keys == []


def test_closing_the_window_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, [NO_KEY])
    window = Window("title")
    screen.visible = 0.0
    assert not window.show(PICTURE)


def test_an_opencv_without_windows_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise cv2.error("not implemented")

    Screen(monkeypatch, [])
    monkeypatch.setattr(cv2, "namedWindow", refuse)
    with pytest.raises(RuntimeError, match="pip install opencv-python"):
        Window("title")


def test_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(RuntimeError, match="no screen"):
        Window("title")
