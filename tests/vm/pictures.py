"""Pictures that stay different after a virtual camera has turned them into 4:2:0 colour, and what another
program read of them.
"""

import time

import cv2
import numpy as np

from realtime.output.outputs import VirtualCamera
from tests.vm.devices import FPS, Reader

SIZE = (320, 240)
CLOSE = 10  # grey levels at 40x30: what the colour costs
SMILE = 50  # the same, by which a smile of the stub engine differs from the still photo at least


def numbered(number: int) -> np.ndarray:
    """A picture whose upper and lower half both carry its number, 0 to 15, beside three colours."""
    picture = np.full((SIZE[1], SIZE[0], 3), 40 + 12 * number, np.uint8)
    for column, colour in enumerate([(200, 40, 40), (40, 200, 40), (40, 40, 200)]):
        picture[:, 40 + 40 * column : 80 + 40 * column] = colour
    return picture


def send_to(camera: VirtualCamera, count: int) -> np.ndarray:
    """Numbered pictures at FPS until another program has read `count` of them -> what it read."""
    camera.send(numbered(0), 0.0)
    with Reader(SIZE) as reader:
        for number in range(60 * FPS):
            camera.send(numbered(number % 16), number / FPS)
            time.sleep(1 / FPS)
            if len(pictures := reader.pictures()) >= count:
                return pictures
    raise AssertionError(f"{count} pictures were not read in a minute")


def small(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (40, 30), interpolation=cv2.INTER_AREA).astype(int)


def distance(a: np.ndarray, b: np.ndarray) -> int:
    """Largest difference of two pictures at 40x30, in grey levels."""
    return int(np.abs(small(a) - small(b)).max())
