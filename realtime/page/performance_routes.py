"""Performances on the page: record, list, play, cut, bend, download, draw on photos."""

from typing import Any

from engines.face.action_units import EXPRESSION
from realtime.page.drawing import Drawing
from realtime.page.http_messages import Refused, Request, Response
from realtime.page.main_thread import Handler, MainThread
from realtime.page.photo_routes import uploaded
from realtime.page.run_routes import flag, number, text
from realtime.performance.curve import CSV_SUFFIX, JSON_SUFFIX
from realtime.performance.load import load_curve
from realtime.session.driver_switcher import DriverChoice
from realtime.session.live_run import LiveRun
from realtime.session.performance_library import KeptPerformance, plot

MAX_CURVE_BYTES = 50_000_000
PLOT_POINTS, SMALL_POINTS = 400, 60
SMALL_AUS = 6  # of a thumbnail
MAX_PHOTOS = 50  # that are drawn at a time


class PerformanceRoutes:
    """What requests about performances do; closed with the page."""

    def __init__(self, main_thread: MainThread):
        self._main_thread = main_thread
        self._drawing = Drawing()
        self._small: dict[tuple[str, int], dict[str, Any]] = {}  # plots of the list, by path and time

    def looks(self) -> dict[str, Handler]:
        return {
            "/performances": self._list,
            "/performances/curve": self._curve,
            "/performances/file": self._file,
            "/performances/video": self._video,
        }

    def acts(self) -> dict[str, Handler]:
        return {
            "/performances/add": self._add,
            "/performances/record": self._record,
            "/performances/play": self._play,
            "/performances/stop": self._stop,
            "/performances/cut": self._cut,
            "/performances/bend": self._bend,
            "/performances/undo": self._undo,
            "/performances/remove": self._remove,
            "/performances/draw": self._draw,
            "/performances/draw/stop": self._stop_drawing,
        }

    def state(self, run: LiveRun) -> dict[str, Any]:
        """What is recorded and drawn now."""
        path = run.recorder.path
        return {"taking": path.stem if path else None, "drawing": self._drawing.state()}

    def close(self) -> None:
        self._drawing.stop()

    # --- looking --------------------------------------------------------------------------------------------

    def _list(self, run: LiveRun, request: Request) -> dict[str, Any]:
        found = [self._listed(each) for each in run.performances.all() if each.path != run.recorder.path]
        return {"performances": [each for each in found if each]}

    def _listed(self, kept: KeptPerformance) -> dict[str, Any] | None:
        try:
            key = str(kept.path), kept.path.stat().st_mtime_ns
        except OSError:  # deleted meanwhile
            return None
        if key not in self._small:
            for old in [each for each in self._small if each[0] == key[0]]:
                del self._small[old]
            small = plot(load_curve(kept.path), SMALL_POINTS)
            small["aus"] = dict(list(small["aus"].items())[:SMALL_AUS])
            self._small[key] = small
        return _named(kept) | {"plot": self._small[key]}

    @staticmethod
    def _curve(run: LiveRun, request: Request) -> dict[str, Any]:
        kept = _asked(run, dict(request.query))
        return _named(kept) | plot(load_curve(kept.path), PLOT_POINTS)

    @staticmethod
    def _file(run: LiveRun, request: Request) -> Response:
        kept = _asked(run, dict(request.query))
        return Response(body=kept.path.read_bytes(), kind="text/csv; charset=utf-8")

    def _video(self, _run: LiveRun, request: Request) -> Response:
        """A video that was drawn, by its place in the list."""
        place = request.query.get("number", "")
        if not place.isdecimal() or len(place) > 4:
            raise Refused(422, "Say which video.")
        return Response(body=self._drawing.parts(int(place)), kind="video/mp4")

    # --- acting ---------------------------------------------------------------------------------------------

    @staticmethod
    def _add(run: LiveRun, request: Request) -> dict[str, Any]:
        name = request.query.get("name", "")
        with uploaded(request, MAX_CURVE_BYTES) as file:
            with file.open("rb") as opened:  # a CSV begins with a name or a quote, keyframes with a brace
                is_json = opened.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{")
            named = file.with_suffix(JSON_SUFFIX if is_json else CSV_SUFFIX)
            file.rename(named)
            return _named(run.performances.add(named, name))

    def _record(self, run: LiveRun, request: Request) -> None:
        on = flag(request.json(), "on")
        self._main_thread.ask(run.recorder.start if on else run.recorder.stop)

    @staticmethod
    def _play(run: LiveRun, request: Request) -> None:
        wanted = request.json()
        kept = _asked(run, wanted)
        once = not flag(wanted, "loop")
        load_curve(kept.path)  # what is wrong with it is said here
        run.drivers.choose(DriverChoice((str(kept.path),), once, name=f"the performance {kept.name}"))

    @staticmethod
    def _stop(run: LiveRun, _request: Request) -> None:
        run.drivers.back()

    @staticmethod
    def _cut(run: LiveRun, request: Request) -> dict[str, Any]:
        wanted = request.json()
        kept = _asked(run, wanted)
        return _named(run.performances.cut(kept.number, number(wanted, "from_s"), number(wanted, "to_s")))

    @staticmethod
    def _bend(run: LiveRun, request: Request) -> dict[str, Any]:
        wanted = request.json()
        kept, au = _asked(run, wanted), text(wanted, "au")
        if au not in EXPRESSION:
            raise Refused(422, "There is no such action unit.")
        relative = "by" in wanted
        time_s, value, width_s = (
            number(wanted, each) for each in ("time_s", "by" if relative else "value", "width_s")
        )
        return _named(run.performances.bend(kept.number, au, time_s, value, width_s, relative))

    @staticmethod
    def _undo(run: LiveRun, request: Request) -> dict[str, Any]:
        return _named(run.performances.undo(_asked(run, request.json()).number))

    @staticmethod
    def _remove(run: LiveRun, request: Request) -> None:
        run.performances.remove(_asked(run, request.json()).number)

    def _draw(self, run: LiveRun, request: Request) -> None:
        wanted = request.json()
        kept, numbers = _asked(run, wanted), wanted.get("photos")
        if not isinstance(numbers, list) or not 1 <= len(numbers) <= MAX_PHOTOS:
            raise Refused(422, f"Choose 1 to {MAX_PHOTOS} photos.")
        photos = [run.photos.photo(each if isinstance(each, int) else 0) for each in numbers]
        if unknown := [photo for photo in photos if not photo.answered]:
            raise Refused(422, f"It was not said who is in {unknown[0].path.name}: say it first.")
        self._drawing.start(kept.path, [photo.path for photo in photos], run.config)

    def _stop_drawing(self, _run: LiveRun, _request: Request) -> None:
        self._drawing.stop()


def _asked(run: LiveRun, found: dict[str, Any]) -> KeptPerformance:
    """The performance that a request means, by its number. Raises Refused, CurveError."""
    wanted = found.get("number")
    if isinstance(wanted, str) and wanted.isdecimal() and len(wanted) < 10:
        wanted = int(wanted)
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise Refused(422, "Say which performance.")
    return run.performances.performance(wanted)


def _named(kept: KeptPerformance) -> dict[str, Any]:
    return {"number": kept.number, "name": kept.name, "ships": kept.ships}
