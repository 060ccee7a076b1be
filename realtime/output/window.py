"""The preview on the screen: a mirror of what others see, with figures and notes over it, and the keys. For the main thread."""

import ctypes
import os
import sys
from collections.abc import Callable

import cv2
import numpy as np

from engines.errors import OutputError
from engines.face.landmarks import quiet_stderr
from realtime.controls import KEYS, Controls
from realtime.overlay import Badge, mirrored, write_lines


def has_screen() -> bool:
    """Whether a window can be opened here. On Linux the window library speaks X11 alone; Wayland's desktops answer to that as well."""
    return sys.platform in ("darwin", "win32") or (bool(os.environ.get("DISPLAY")) and _display_answers())


def _display_answers() -> bool:
    """Whether there is an X server where DISPLAY says, and it lets us in: DISPLAY outlives a connection in tmux, ssh and sudo."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")  # which the window library needs, too
    except OSError:
        return False
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    failed = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return not failed


class Window:
    """An output. `closed` turns true when the user closes it; its keys go to `controls`, which `serve` gives it."""

    name, main_thread = "window", True
    TITLE = "Expression Puppet"

    def __init__(self, size: tuple[int, int]):
        if (
            not has_screen()
        ):  # asked first: the window library ends the whole process when it finds no display
            raise OutputError(
                "There is no screen for --output window: use --output FILE.mp4 or the virtual camera."
            )
        try:
            with quiet_stderr():  # Qt tells about its fonts
                cv2.namedWindow(self.TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(self.TITLE, *size)
        except cv2.error as error:
            raise OutputError(
                f"The window cannot be opened ({error.err}): use --output FILE.mp4 or the virtual camera."
            ) from error
        self.closed = False
        self.serve(Controls(hud=False, mirror=False))

    def serve(
        self,
        controls: Controls,
        draw_hud: Callable[[np.ndarray], None] = lambda _image: None,
        badge: Badge | None = None,
    ) -> None:
        """controls: what its keys switch; draw_hud: writes figures over a picture, in place; badge: the pictures' own."""
        self._controls, self._draw_hud, self._badge = controls, draw_hud, badge

    def send(self, image: np.ndarray, time_s: float) -> None:
        cv2.imshow(self.TITLE, self.dressed(image))
        key = cv2.pollKey()
        if key >= 0:
            self._controls.press(chr(key & 0xFF))
        self.closed = cv2.getWindowProperty(self.TITLE, cv2.WND_PROP_VISIBLE) < 1

    def dressed(self, image: np.ndarray) -> np.ndarray:
        """What the user sees of a picture; the picture itself stays as it is."""
        shown = (
            mirrored(image, self._badge) if self._controls.mirror and not self._controls.paused else image
        )  # a slate is to be read
        if not (self._controls.hud or self._controls.help):
            return shown
        shown = image.copy() if shown is image else shown
        if self._controls.hud:
            self._draw_hud(shown)
        if self._controls.help:
            write_lines(shown, [(f"{key.name}: {key.what}", False) for key in KEYS], at_top=True)
        return shown

    def close(self) -> None:
        if not self.closed:
            cv2.destroyWindow(self.TITLE)
