"""A window on the screen, where OpenCV and the screen allow it."""

from __future__ import annotations

import os
import sys
from types import TracebackType

import cv2
import numpy as np

ESCAPE = 27


class Window:
    """Shows pictures until Esc is pressed.

    Args:
        title: text in the title bar.

    Raises:
        RuntimeError: OpenCV was built without windows, or there is no screen.
    """

    def __init__(self, title: str) -> None:
        # Asked for first: without a screen, Qt would end the whole process instead of raising an error.
        has_screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        if not has_screen:
            raise RuntimeError("there is no screen to open a window on; give --output to write files instead")
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL)
        except cv2.error:
            raise RuntimeError(
                "this OpenCV cannot open windows; give --output to write files, or run "
                "'pip uninstall opencv-python-headless' and 'pip install opencv-python'"
            ) from None
        self.title = title

    def show(self, picture: np.ndarray, milliseconds: int = 0) -> bool:
        """Show a picture and wait for a key, for ever by default.

        Args:
            picture: (H, W, 3) uint8, RGB.
            milliseconds: the longest to wait; 0 for no end.

        Returns:
            Whether to go on: False when Esc was pressed.
        """
        cv2.imshow(self.title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        return (cv2.waitKey(milliseconds) & 0xFF) != ESCAPE

    def close(self) -> None:
        """Take the window off the screen."""
        cv2.destroyWindow(self.title)

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()
