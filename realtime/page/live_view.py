"""The pictures that go out, for the page: an output that keeps the newest, and turns it into a JPEG where
somebody looks at it, in their thread.
"""

import threading
from collections.abc import Generator

import cv2
import numpy as np

MOST_WIDTH_PX = 1280  # of a picture for the page; what is wider is halved until it fits
QUALITY = 80  # of JPEG, 0 to 100: 1.5 ms of a core at 1280x720, 45 kB
ALIVE_S = 1.0  # after which the newest picture is sent again: a client that has gone is noticed by that


class LiveView:
    """An Output whose pictures are watched by pages. `send` is for one thread, the rest for any."""

    name = "page"
    main_thread = False
    closed = False

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._image: np.ndarray | None = None
        self._number = 0  # of the newest picture
        self._encoding = threading.Lock()  # so that two pages do not encode the same picture
        self._encoded: dict[int, tuple[int, bytes]] = {}  # by how often it was halved: number, JPEG
        self._ended = False
        self.watchers = 0  # that look now

    def send(self, image: np.ndarray, time_s: float) -> None:
        """As Output's; never waits."""
        if image is self._image:
            return
        with self._condition:
            self._image = image
            self._number += 1
            self._condition.notify_all()

    def close(self) -> None:
        """Ends all that watch."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def watch(self, width_px: int) -> Generator[bytes, None, None]:
        """Yields JPEGs of the newest picture, at most so wide, as they come; those in between are left out.

        The newest is given again after ALIVE_S without another.
        """
        number = 0
        with self._condition:
            self.watchers += 1
        try:
            while (newest := self._after(number)) is not None:
                image, number = newest
                yield self._jpeg(image, number, width_px)
        finally:
            with self._condition:
                self.watchers -= 1

    def _after(self, number: int) -> tuple[np.ndarray, int] | None:
        """The newest picture and its number, once it is another than this, or after ALIVE_S.

        None at the end.
        """
        with self._condition:
            while not self._ended:
                self._condition.wait_for(lambda: self._ended or self._number > number, ALIVE_S)
                if self._image is not None and not self._ended:
                    return self._image, self._number
        return None

    def _jpeg(self, image: np.ndarray, number: int, width_px: int) -> bytes:
        halvings = 0
        while image.shape[1] >> halvings > min(max(width_px, 320), MOST_WIDTH_PX):
            halvings += 1
        with self._encoding:
            known, data = self._encoded.get(halvings, (0, b""))
            if known < number:
                data = encode(image, halvings)
                self._encoded[halvings] = number, data
            return data


def encode(image: np.ndarray, halvings: int = 0) -> bytes:
    """A (H, W, 3) uint8 BGR picture as a JPEG, halved so many times."""
    if halvings:  # by whole factors: others take ten times as long
        size = image.shape[1] >> halvings, image.shape[0] >> halvings
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
