"""A window on the screen, where OpenCV and the screen allow it."""

from __future__ import annotations

import os
import sys

import cv2
import numpy as np

ESCAPE = 27
NO_KEY = -1
LARGEST = (1280, 800)  # width, height; larger pictures are shown smaller


class Window:
    """Shows pictures until Esc is pressed or the window is closed.

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
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
        except cv2.error:
            raise RuntimeError(
                "this OpenCV cannot open windows; give --output to write files, or run "
                "'pip uninstall opencv-python-headless' and 'pip install opencv-python'"
            ) from None
        self.title = title

    def show(self, picture: np.ndarray, wait: bool = True) -> bool:
        """Show a picture.

        Args:
            picture: (H, W, 3) uint8, RGB.
            wait: until a key is pressed; else only as long as it takes to draw.

        Returns:
            Whether to go on: False when Esc was pressed or the window was closed.
        """
        height, width = picture.shape[:2]
        shrink = max(1.0, width / LARGEST[0], height / LARGEST[1])
        cv2.resizeWindow(self.title, round(width / shrink), round(height / shrink))
        cv2.imshow(self.title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(1)
        while wait and key == NO_KEY and self._is_open():
            key = cv2.waitKey(100)
        return key & 0xFF != ESCAPE and self._is_open()

    def _is_open(self) -> bool:
        return cv2.getWindowProperty(self.title, cv2.WND_PROP_VISIBLE) >= 1

    def close(self) -> None:
        """Take the window off the screen."""
        if self._is_open():
            cv2.destroyWindow(self.title)

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
