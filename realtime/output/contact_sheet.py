"""A contact sheet of a run, and pictures written to files."""

from pathlib import Path

import cv2
import numpy as np

from engines import atomic_file
from engines.errors import OutputError
from realtime.output.marks import KINDS, encode_picture
from realtime.output.signatures import sign
from realtime.partial_file import check_writable

SHEET_SUFFIXES = set(KINDS)


class ContactSheet:
    """An Output that keeps a few pictures at even intervals, to show a whole clip at a glance."""

    main_thread = False
    closed = False

    def __init__(self, path: str | Path, expected: int, columns: int = 6, rows: int = 4, width_px: int = 240):
        """
        Args:
            expected: how many pictures will be sent, about.
            width_px: of each picture on the sheet.

        Raises: OutputError when the name is no picture's, or cannot be written.
        """
        if Path(path).suffix.lower() not in SHEET_SUFFIXES:
            suffixes = " or ".join(sorted(SHEET_SUFFIXES))
            raise OutputError(f"--sheet {path} is not a picture's name: end it with {suffixes}.")
        check_writable(path, "--sheet")
        self.name = str(path)
        self._path = Path(path)
        self._columns = columns
        self._capacity = columns * rows
        self._width_px = width_px
        self._expected = max(1, expected)
        self._sent = 0
        self._kept: list[np.ndarray] = []  # (h, width_px, 3) uint8 BGR

    def send(self, image: np.ndarray, time_s: float) -> None:
        """As Output's."""
        due = self._sent * self._capacity // self._expected
        if len(self._kept) < self._capacity and due >= len(self._kept):
            height_px = round(image.shape[0] * self._width_px / image.shape[1])
            small = cv2.resize(image, (self._width_px, height_px), interpolation=cv2.INTER_AREA)
            self._kept.append(small)
        self._sent += 1

    def discard(self) -> None:
        """Makes `close` write nothing."""
        self._kept = []

    def close(self) -> None:
        """Writes the sheet. Raises OutputError."""
        if not self._kept:
            return
        blank = np.zeros_like(self._kept[0])
        cells = self._kept + [blank] * (-len(self._kept) % self._columns)
        rows = [np.hstack(cells[i : i + self._columns]) for i in range(0, len(cells), self._columns)]
        write_picture(self._path, np.vstack(rows), "--sheet")


def write_picture(path: Path, picture: np.ndarray, option: str) -> None:
    """Writes a picture file of the kind that its suffix names, marked as made with a trained model.

    Args:
        picture: (H, W, 3) uint8 BGR.
        option: the option that named the file, for the message.

    Raises: OutputError.
    """
    try:
        atomic_file.write_bytes(path, encode_picture(picture, path.suffix.lower()))
        sign(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): free some space or choose another {option}."
        ) from error
