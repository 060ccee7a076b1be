"""Performances that are kept for a page: recorded, cut, bent, and those that ship.

performances/ in the settings folder    NAME.csv
"""

import shutil
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from engines import atomic_file
from engines.environment import settings_folder
from engines.errors import CurveError, OutputError
from engines.face.action_units import EXPRESSION, sides
from realtime.performance.curve import CSV_SUFFIX, JSON_SUFFIX, Curve
from realtime.performance.curve_writer import CurveWriter, rows_of
from realtime.performance.load import load_curve
from realtime.puppet.animator import Animator
from realtime.session.consent import SAMPLES
from realtime.session.photo_shelf import harmless

MAX_KEPT = 500
UNDO_STEPS = 20
EDIT_FPS = 30.0  # of a curve whose points are moved: as densely as it is recorded
MAX_EDITED_ROWS = 20_000  # eleven minutes; each takes 50 us
SHORTEST_S = 0.2  # of a cut
WIDTH_S = (0.05, 10.0)  # on each side of a point that is moved


@dataclass(eq=False)
class KeptPerformance:
    """A performance to choose."""

    number: int
    path: Path
    ships: bool = False

    @property
    def name(self) -> str:
        return self.path.stem


def folder() -> Path:
    """Where performances are kept; it need not exist."""
    return settings_folder() / "performances"


class PerformanceLibrary:
    """For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[Path, KeptPerformance] = {}
        self._count = 0
        self._undo: OrderedDict[int, list[bytes]] = OrderedDict()  # earlier versions, by number

    def all(self) -> list[KeptPerformance]:
        """Those that are kept, the latest first, and those that ship."""
        with self._lock:
            try:
                paths = [path for path in folder().glob(f"*{CSV_SUFFIX}") if path.is_file()]
            except OSError:
                paths = []
            kept = sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)[:MAX_KEPT]
            return [
                *(self._of(path) for path in kept),
                *(self._of(path, ships=True) for path in sorted(SAMPLES.glob(f"*{CSV_SUFFIX}"))),
            ]

    def performance(self, number: int) -> KeptPerformance:
        """Raises CurveError where it is not there any more."""
        for each in self.all():
            if each.number == number:
                return each
        raise CurveError("That performance is not there any more", "choose another one")

    def free_path(self, name: str) -> Path:
        """Of a new performance: no other has the name. Raises OutputError."""
        try:
            folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The folder {folder()} cannot be made ({error.strerror}): free some space."
            ) from error
        stem = harmless(f"{name}{CSV_SUFFIX}")
        path = folder() / f"{stem}{CSV_SUFFIX}"
        number = 2
        while path.exists():
            path = folder() / f"{stem}-{number}{CSV_SUFFIX}"
            number += 1
        return path

    def add(self, file: Path, name: str) -> KeptPerformance:
        """Keeps a curve that was sent, a CSV or keyframes, as a CSV. Raises CurveError, OutputError."""
        if file.suffix == JSON_SUFFIX:
            return self._keep(_sampled(load_curve(file)), harmless(name))
        load_curve(file)
        path = self.free_path(harmless(name))
        with _disk(path), atomic_file.replacing(path, atomic_file.PRIVATE) as temporary:
            shutil.copyfile(file, temporary)
        return self._listed(path)

    def cut(self, number: int, start_s: float, end_s: float) -> KeptPerformance:
        """Keeps a part of a performance as a new one. Raises CurveError, OutputError."""
        kept = self.performance(number)
        curve = _editable(kept.path)
        end_s = min(end_s, curve.duration_s)
        if not 0 <= start_s <= end_s - SHORTEST_S:
            raise CurveError(f"From {start_s:g} to {end_s:g} s there is nothing", "choose a longer part")
        inside = (curve.times_s > start_s) & (curve.times_s < end_s)
        times_s = np.concatenate([[start_s], curve.times_s[inside], [end_s]])
        return self._keep(_sampled(curve, times_s), f"{kept.name}-cut")

    def bend(
        self, number: int, au: str, time_s: float, value: float, width_s: float, relative: bool = False
    ) -> KeptPerformance:
        """Moves a point of an AU's curve to a value, and its surroundings with it, smoothly.

        One that ships is copied first.

        Args:
            au: by its name in EXPRESSION, or of both its sides.
            value: -1 to 1.
            width_s: how far it reaches on each side.
            relative: the value is added to what the point has.

        Raises: CurveError, OutputError.
        """
        columns = [EXPRESSION.index(side) for side in sides(au) if side in EXPRESSION]
        if not columns or not -1 <= value <= 1 or not WIDTH_S[0] <= width_s <= WIDTH_S[1]:
            raise CurveError("That point cannot be there", "keep it between -1 and 1")
        kept = self.performance(number)
        curve = _dense(_editable(kept.path), time_s, width_s)
        share = np.clip(np.abs(curve.times_s - time_s) / width_s, 0, 1)
        weight = (0.5 + 0.5 * np.cos(np.pi * share)).astype(np.float32)[:, None]
        moved = weight * (value if relative else value - curve.at(time_s)[columns])
        curve.values[:, columns] = np.clip(curve.values[:, columns] + moved, -1, 1)
        if kept.ships:
            return self._keep(curve, kept.name)
        with self._lock, _disk(kept.path):
            self._undo.setdefault(number, []).append(kept.path.read_bytes())
            del self._undo[number][:-UNDO_STEPS]
        _write(kept.path, curve)
        return kept

    def undo(self, number: int) -> KeptPerformance:
        """Takes back what `bend` did last. Raises CurveError where there is nothing."""
        kept = self.performance(number)
        with self._lock:
            earlier = self._undo.get(number)
            if not earlier:
                raise CurveError("Nothing was changed that could be taken back", "drag a point first")
            data = earlier.pop()
        with _disk(kept.path):
            atomic_file.write_bytes(kept.path, data, atomic_file.PRIVATE)
        return kept

    def remove(self, number: int) -> None:
        """Deletes one that is kept. Raises CurveError for one that ships."""
        kept = self.performance(number)
        if kept.ships:
            raise CurveError("This performance ships with the program", "leave it there")
        kept.path.unlink(missing_ok=True)

    def _keep(self, curve: Curve, name: str) -> KeptPerformance:
        path = self.free_path(name)
        _write(path, curve)
        return self._listed(path)

    def _listed(self, path: Path) -> KeptPerformance:
        with self._lock:
            return self._of(path)

    def _of(self, path: Path, ships: bool = False) -> KeptPerformance:
        if path not in self._known:
            self._count += 1
            self._known[path] = KeptPerformance(self._count, path, ships)
        return self._known[path]


class PerformanceRecorder:
    """Records what drives the puppet into the library, at any time of a run. For one thread, but `add`."""

    def __init__(self, animator: Animator, library: PerformanceLibrary, say: Callable[[str], None]):
        self._animator = animator
        self._library = library
        self._say = say
        self._lock = Lock()
        self._writer: CurveWriter | None = None
        self.path: Path | None = None  # of what is being recorded

    def start(self) -> None:
        """Raises OutputError where it cannot be written."""
        if self._writer:
            return
        path = self._library.free_path(time.strftime("take-%Y%m%d-%H%M%S"))
        writer = CurveWriter(path, self._say)
        with self._lock:
            self._writer, self.path = writer, path
        self._animator.recorder = self._add

    def stop(self) -> None:
        """Finishes the recording. Raises OutputError where it ended early."""
        self._animator.recorder = None
        with self._lock:
            writer, self._writer, self.path = self._writer, None, None
        if writer:
            writer.close()

    def _add(self, expression: np.ndarray, time_s: float) -> None:
        with self._lock:
            if self._writer:
                self._writer.add(expression, time_s)


def plot(curve: Curve, points: int) -> dict[str, Any]:
    """A curve for a plot: evenly spaced moments, and the values of every AU that moves, most active first."""
    times_s = np.linspace(0, curve.duration_s, max(2, points))
    values = np.array([curve.at(float(time_s)) for time_s in times_s])
    activity = np.abs(values).max(axis=0)
    order = [int(i) for i in np.argsort(-activity) if activity[i] >= 0.02]
    return {
        "duration_s": curve.duration_s,
        "times_s": times_s.round(3).tolist(),
        "aus": {EXPRESSION[i]: values[:, i].round(3).tolist() for i in order},
    }


def _editable(path: Path) -> Curve:
    """Raises CurveError, also for one that would take seconds to be changed."""
    curve = load_curve(path)
    if len(curve.times_s) > MAX_EDITED_ROWS:
        raise CurveError(
            f"{path.stem} is too long to be changed here", "cut it in an editor of tables: it is a CSV"
        )
    return curve


def _sampled(curve: Curve, times_s: np.ndarray | None = None) -> Curve:
    """A curve of all AUs, at its own knots or at these times, counted from the first."""
    times_s = curve.times_s if times_s is None else times_s
    values = np.array([curve.at(float(time_s)) for time_s in times_s], np.float32)
    return Curve(EXPRESSION, times_s - times_s[0], values)


def _dense(curve: Curve, time_s: float, width_s: float) -> Curve:
    """A curve of all AUs with enough knots around a moment that a smooth bump fits."""
    start_s, end_s = max(0.0, time_s - width_s), min(curve.duration_s, time_s + width_s)
    more = np.arange(start_s, end_s, 1 / EDIT_FPS)
    apart = np.abs(more[:, None] - curve.times_s[None]).min(axis=1) > 0.5 / EDIT_FPS
    return _sampled(curve, np.sort(np.concatenate([curve.times_s, more[apart]])))


def _write(path: Path, curve: Curve) -> None:
    with _disk(path):
        atomic_file.write_text(path, rows_of(curve.times_s, curve.values), atomic_file.PRIVATE)


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """What the disk refuses, as an OutputError."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): free some space.") from error
