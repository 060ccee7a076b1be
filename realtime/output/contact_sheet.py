"""A contact sheet of a run, and pictures written to files."""

from pathlib import Path

import cv2
import numpy as np

from engines import atomic_file
from engines.errors import OutputError
from realtime.partial_file import check_writable

SHEET_SUFFIXES = {".png", ".jpg"}


class ContactSheet:
    """An output that keeps a few pictures at even distances, for a look at a whole clip at once."""

    main_thread, closed = False, False

    def __init__(self, path: str | Path, expected: int, columns: int = 6, rows: int = 4, width_px: int = 240):
        if Path(path).suffix.lower() not in SHEET_SUFFIXES:
            raise OutputError(
                f"--sheet {path} is not a picture's name: end it with {' or '.join(sorted(SHEET_SUFFIXES))}."
            )
        check_writable(path, "--sheet")
        self.name, self._path = str(path), Path(path)
        self._columns, self._count, self._width, self._expected = (
            columns,
            columns * rows,
            width_px,
            max(1, expected),
        )
        self._number, self._kept = 0, []

    def send(self, image: np.ndarray, time_s: float) -> None:
        if len(self._kept) < self._count and self._number * self._count // self._expected >= len(self._kept):
            height = round(image.shape[0] * self._width / image.shape[1])
            self._kept.append(cv2.resize(image, (self._width, height), interpolation=cv2.INTER_AREA))
        self._number += 1

    def discard(self) -> None:
        """Makes `close` write nothing."""
        self._kept = []

    def close(self) -> None:
        if not self._kept:
            return
        blank = np.zeros_like(self._kept[0])
        cells = self._kept + [blank] * (-len(self._kept) % self._columns)
        sheet = np.vstack(
            [np.hstack(cells[i : i + self._columns]) for i in range(0, len(cells), self._columns)]
        )
        write_picture(self._path, sheet, "--sheet")


def write_picture(path: Path, picture: np.ndarray, option: str) -> None:
    """(H, W, 3) uint8 BGR into a file of the kind that its name says; `option`: where that came from. Raises OutputError."""
    encoded = cv2.imencode(path.suffix.lower(), picture)[
        1
    ].tobytes()  # OpenCV's own files cannot have every name on Windows
    try:
        atomic_file.write_bytes(path, encoded)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}): free some space or choose another {option}."
        ) from error
