"""OpenFace's tables of AUs (FeatureExtraction -of), read as curves.

Its header has timestamp (seconds), success, and an intensity from 0 to 5 for each of 17 AUs: AU12_r is AU12.
A frame without a face (success 0) is no knot, so that the curve goes on between its neighbours; of several
people the one with the first row is taken. Presences (AU12_c), head pose and gaze are not read.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from realtime.performance.curve import TIME

TIMESTAMP, SUCCESS, PERSON = "timestamp", "success", "face_id"
FULL = 5.0  # its greatest intensity
INTENSITY = re.compile(r"(AU\d\d)_r")


@dataclass
class OpenFaceColumns:
    """Which columns of a table make a curve."""

    header: list[str]  # as that of a curve: time_s and AUs
    places: list[int]  # of these in a row
    width: int
    success: int | None
    person: int | None
    chosen: str | None = None  # the person who is read

    def row(self, cells: Sequence[str]) -> list[str] | None:
        """The cells of a curve's row, in a curve's values; None for one without the person's face."""
        if self.success is not None and cells[self.success].strip() in ("0", "0.0"):
            return None
        if self.person is not None:
            person = cells[self.person].strip()
            self.chosen = person if self.chosen is None else self.chosen
            if person != self.chosen:
                return None
        time, *intensities = (cells[place] for place in self.places)
        return [time, *map(_scaled, intensities)]


def openface_columns(cells: Sequence[str]) -> OpenFaceColumns | None:
    """The columns of an OpenFace table by the cells of its header; None for another table."""
    names = [cell.strip() for cell in cells]
    aus = [place for place, name in enumerate(names) if INTENSITY.fullmatch(name)]
    if TIMESTAMP not in names or not aus:
        return None
    return OpenFaceColumns(
        [TIME, *(names[place].removesuffix("_r") for place in aus)],
        [names.index(TIMESTAMP), *aus],
        len(names),
        names.index(SUCCESS) if SUCCESS in names else None,
        names.index(PERSON) if PERSON in names else None,
    )


def _scaled(cell: str) -> str:
    """An intensity of 0 to 5 as one of 0 to 1; what is none as it stands, to be refused by its text."""
    try:
        intensity = float(cell)
    except ValueError:
        return cell
    return str(intensity / FULL) if 0 <= intensity <= FULL else cell
