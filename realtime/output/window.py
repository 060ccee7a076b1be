"""The preview on the screen: a mirror of what others see, with figures and notes over it, and the keys."""

import ctypes
import os
import sys
from collections.abc import Callable

import cv2
import numpy as np

from engines.errors import OutputError
from engines.quiet import quiet_stderr
from realtime.controls import KEYS, Controls
from realtime.overlay import Badge, mirrored, write_lines


def has_screen() -> bool:
    """Whether a window can be opened.

    On Linux OpenCV's windows need X11, which Wayland's desktops offer as well.
    """
    return sys.platform in ("darwin", "win32") or (bool(os.environ.get("DISPLAY")) and _display_answers())


def _display_answers() -> bool:
    """Whether DISPLAY, which outlives a connection in tmux, ssh and sudo, names an X server for this user."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")  # OpenCV's windows need it, too
    except OSError:
        return False
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    failed = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return not failed


class Window:
    """An Output for the main thread, with keys: `serve` says what they switch."""

    name = "window"
    main_thread = True
    TITLE = "Expression Puppet"

    def __init__(self, size: tuple[int, int]):
        """
        Args:
            size: (width, height) in pixels.

        Raises: OutputError when there is no screen, or no window can be opened.
        """
        if not has_screen():  # checked first: Qt ends the whole process when it finds no display
            raise OutputError(
                "There is no screen for --output window: use --output FILE.mp4 or the virtual camera."
            )
        try:
            with quiet_stderr():  # Qt prints about its fonts
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
        """
        Args:
            controls: what its keys switch.
            draw_hud: writes figures over a (H, W, 3) uint8 BGR picture, in place.
            badge: the one on the pictures, which stays legible in the mirror.
        """
        self._controls = controls
        self._draw_hud = draw_hud
        self._badge = badge

    def send(self, image: np.ndarray, time_s: float) -> None:
        """As Output's; handles the keys that were pressed."""
        cv2.imshow(self.TITLE, self.dressed(image))
        key = cv2.pollKey()
        if key >= 0:
            self._controls.press(chr(key & 0xFF))
        self.closed = cv2.getWindowProperty(self.TITLE, cv2.WND_PROP_VISIBLE) < 1

    def dressed(self, image: np.ndarray) -> np.ndarray:
        """What the user sees of a picture; the picture itself is not changed."""
        controls = self._controls
        mirror = controls.mirror and not controls.paused  # the slate of a pause has to be legible
        shown = mirrored(image, self._badge) if mirror else image
        if not (controls.hud or controls.help):
            return shown
        shown = image.copy() if shown is image else shown
        if controls.hud:
            self._draw_hud(shown)
        if controls.help:
            write_lines(shown, [(f"{key.name}: {key.what}", False) for key in KEYS], at_top=True)
        return shown

    def close(self) -> None:
        if not self.closed:
            cv2.destroyWindow(self.TITLE)
