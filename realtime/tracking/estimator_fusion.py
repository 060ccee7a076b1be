"""Fuses MediaPipe's AUs of every frame with some AUs of a slower estimator that sees them better.

The slow one's newest estimate is held; from one to the next its AUs are interpolated linearly, then pass the
One-Euro filter that all AUs pass (expression_tracker.py). How the sides of a face differ comes from
MediaPipe. An estimator that fails or does not answer is faded out, and in again, within FADE_S; nothing waits
for it.

Changes are fused, not intensities: each estimator has a rest of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engines.errors import EngineError
from engines.face import au_estimator
from engines.face.landmarks import Face
from engines.face.pyfeat import AUS, PyFeat, Scale, usable
from engines.face.pyfeat_weights import find_weights
from realtime.messages import Frame
from realtime.process.log import LOG
from realtime.tracking.background_estimator import (
    BackgroundEstimator,
    Estimate,
    EstimateSource,
    EveryFrame,
)

ESTIMATORS = ("auto", "mediapipe", "py-feat")
FAST, SLOW = "mediapipe", "py-feat"


@dataclass(frozen=True)
class AuSource:
    """Which estimator an AU comes from."""

    source: str  # FAST or SLOW
    reason: str
    oldest_s: float = 0.0  # of the slow one's estimates, in seconds: older ones are worse than MediaPipe's


# F1: py-feat 2 on DISFA+, which it was not trained on, as its authors published it
# (huggingface.co/datasets/py-feat/benchmarks; AUs of intensity 2 and more, present from .5 on). The mesh was
# measured: train/LOG.md.
SOURCES: dict[str, AuSource] = {
    "AU01": AuSource(FAST, "brows: a blendshape that works, and quick; F1 .78"),
    "AU02": AuSource(FAST, "brows: a blendshape that works, and quick; F1 .57"),
    "AU04": AuSource(FAST, "brows: a blendshape that works, and quick; F1 .71"),
    "AU05": AuSource(FAST, "lids move within a frame or two; F1 .58"),
    "AU06": AuSource(
        SLOW, "F1 .59; MediaPipe's own is dead, and the mesh's fades in a head that leans back", 1.0
    ),
    "AU07": AuSource(FAST, "lids move within a frame or two; no F1 known"),
    "AU09": AuSource(
        SLOW,
        "F1 .83, its best; MediaPipe's own is dead, wrinkles are skin, and a smile is .3 of one on the mesh",
        1.0,
    ),
    "AU10": AuSource(FAST, "no F1 known"),
    "AU12": AuSource(FAST, "a blendshape that works, and quick; F1 .56"),
    "AU14": AuSource(FAST, "no F1 known"),
    "AU15": AuSource(SLOW, "F1 .65; on the mesh a smile hides it", 0.5),
    "AU17": AuSource(FAST, "F1 .28"),
    "AU20": AuSource(FAST, "F1 .01"),
    "AU23": AuSource(FAST, "speech moves it; no F1 known"),
    "AU25": AuSource(FAST, "speech moves it; F1 .67"),
    "AU26": AuSource(FAST, "speech moves it; F1 .26"),
    "AU45": AuSource(FAST, "a blink is over in .15 s"),
    "AU18": AuSource(FAST, "py-feat does not estimate it"),
    "AU22": AuSource(FAST, "py-feat does not estimate it"),
}
FROM_SLOW = tuple(au for au, source in SOURCES.items() if source.source == SLOW)
PLACES = {au: au_estimator.index((au,)) for au in FROM_SLOW}  # of both sides, in the order of ESTIMATED

FADE_S = 0.4  # between the two; a shorter fade jumps, a longer one leaves a dead source on the face
LONGEST_GLIDE_S = 0.5  # from one estimate to the next
SILENT_S = 3.0  # without an answer, before that is reported
# From which the driver's rest is learnt.
REST_S = 1.0
REST_ESTIMATES = 5
# As realtime/tracking/neutral.py does it for MediaPipe's.
REST_PERCENTILE = 20.0
HIGHEST_REST = 0.6
HYSTERESIS = (
    1.3  # times the oldest estimate that an AU starts with: it is kept up to that, so as not to alternate
)
AGE_WEIGHT = 0.3  # of the newest age in the moving average of how old estimates get


class FusedEstimator:
    """Corrects MediaPipe's change of AUs by a slow estimator's. Close it at the end."""

    def __init__(self, slow: EstimateSource, notify: Callable[[str], None], scale: Scale | None = None):
        """
        Args:
            slow: closed with it.
            notify: called with sentences about the slow estimator.
            scale: the driver's, from a profile, or Scale.default() for pictures, which have no rest; None
                learns it.
        """
        self._slow = slow
        self._notify = notify
        self._scale = scale
        self._full = scale.full if scale else None  # stays when the rest is learnt again
        self._rest_estimates: list[Estimate] = []  # while the rest is learnt
        self._used: Estimate | None = None  # the newest that was taken into account
        self._from = np.zeros(len(AUS), np.float32)
        self._to = np.zeros(len(AUS), np.float32)
        self._glide_start_s = 0.0
        self._glide_s = 0.0
        self._age_s = math.inf  # how old estimates get before the next comes, a moving average
        self._weights = dict.fromkeys(FROM_SLOW, 0.0)
        self._last_s: float | None = None
        self._waiting_s: float | None = None  # since when an answer is due
        self._answers = 0
        self._silent = False
        self._assessed = False
        self._retired = False

    def __call__(self, change: np.ndarray, frame: Frame, face: Face) -> np.ndarray:
        """Returns the change of AUs from neutral with AUs of the slow estimator in it, (41,) float32, -1..1.

        Args:
            change: (41,) MediaPipe's, in the order of ESTIMATED.
            frame: the driver's frame that it was estimated from.
            face: the face in it.
        """
        now_s = frame.captured_s
        elapsed_s = 0.0 if self._last_s is None else now_s - self._last_s
        if not self._retired:
            self._slow.offer(frame, face)
        newest = self._slow.newest
        if newest is not None and newest is not self._used:
            self._take(newest, now_s)
        self._report(now_s, elapsed_s)
        fused = np.array(change, np.float32)
        slow_change = self._interpolate(now_s)
        for au in FROM_SLOW:
            step = elapsed_s / FADE_S
            self._weights[au] += min(max(self._is_usable(au, now_s) - self._weights[au], -step), step)
            if self._weights[au]:
                places = PLACES[au]
                correction = slow_change[AUS.index(au)] - fused[places].mean()
                fused[places] += (
                    self._weights[au] * correction
                )  # the same to both sides: they differ as before
        self._last_s = now_s
        return np.clip(fused, -1, 1)

    def relearn(self) -> None:
        """Learns the rest again, from the next estimates. For any thread."""
        self._scale = None
        self._rest_estimates = []

    @property
    def weights(self) -> dict[str, float]:
        """How much of each AU comes from the slow estimator now, 0..1."""
        return dict(self._weights)

    def close(self) -> None:
        """Closes the slow estimator."""
        self._slow.close()

    def _take(self, newest: Estimate, now_s: float) -> None:
        """Takes a new estimate into account."""
        before = self._used
        self._used = newest
        self._waiting_s = None
        self._answers += 1
        if before is None:
            self._age_s = 2 * (now_s - newest.captured_s)
        else:
            self._age_s += AGE_WEIGHT * (now_s - before.captured_s - self._age_s)
        scale = self._scale or self._learn_rest(newest)
        if scale is None:
            return
        self._from = self._interpolate(now_s)
        self._to = scale.change(newest.values)
        late = before is not None and newest.captured_s < now_s
        apart_s = newest.captured_s - before.captured_s if before is not None and late else 0.0
        self._glide_start_s = now_s
        self._glide_s = float(np.clip(apart_s, 0.0, LONGEST_GLIDE_S))

    def _learn_rest(self, newest: Estimate) -> Scale | None:
        """The driver's scale, once there are enough estimates for their rest; None before."""
        estimates = self._rest_estimates  # another thread may start a new list
        estimates.append(newest)
        if len(estimates) < REST_ESTIMATES or newest.captured_s - estimates[0].captured_s < REST_S:
            return None
        rest = np.percentile([estimate.values for estimate in estimates], REST_PERCENTILE, axis=0)
        scale = Scale.of_driver(np.minimum(rest, HIGHEST_REST), self._full)
        self._scale = scale
        self._rest_estimates = []
        return scale

    def _interpolate(self, now_s: float) -> np.ndarray:
        """(17,) the slow estimator's change at this moment, on its way to the newest."""
        share = 1.0 if self._glide_s <= 0 else min(1.0, (now_s - self._glide_start_s) / self._glide_s)
        return self._from + np.float32(share) * (self._to - self._from)

    def _is_usable(self, au: str, now_s: float) -> bool:
        """Whether this AU should come from the slow estimator now."""
        if self._slow.ended or self._scale is None or self._used is None or self._silent or self._retired:
            return False
        oldest_s = SOURCES[au].oldest_s * (HYSTERESIS if self._weights[au] else 1)
        return self._age_s <= oldest_s and now_s - self._used.captured_s <= 2 * oldest_s

    def _report(self, now_s: float, elapsed_s: float) -> None:
        """Reports, once each, that the slow estimator has begun, does not answer, or answers again."""
        if self._slow.ended or self._retired:
            return
        if self._waiting_s is None or elapsed_s > SILENT_S:  # without a face in view it was asked for nothing
            self._waiting_s = now_s
        silent = now_s - self._waiting_s > SILENT_S
        if silent and not self._silent:
            self._notify(
                f"{self._slow.name} has not answered for {SILENT_S:.0f} s: MediaPipe's AUs alone until "
                "it does."
            )
        elif self._silent and not silent:
            self._notify(f"{self._slow.name} answers again.")
        self._silent = silent
        if not self._assessed and self._scale is not None and self._answers >= REST_ESTIMATES:
            self._assess()

    def _assess(self) -> None:
        """Reports which AUs the slow estimator serves; stops one that is too slow for all: it costs cores."""
        self._assessed = True
        used = [au for au in FROM_SLOW if self._age_s <= SOURCES[au].oldest_s]
        if used:
            self._notify(f"{self._slow.name}: {', '.join(used)} from it, the rest from MediaPipe")
            return
        self._retired = True
        self._slow.stop()
        self._notify(
            f"{self._slow.name} is too slow here (its estimates are {self._age_s:.1f} s old): going on with "
            "MediaPipe's AUs alone."
        )


def open_second(
    wanted: str,
    weights: str | None,
    notify: Callable[[str], None],
    live: bool = True,
    scale: Scale | None = None,
) -> FusedEstimator | None:
    """Opens what runs beside MediaPipe; None for nothing.

    Args:
        wanted: one of ESTIMATORS.
        weights: py-feat's, a path; None finds them.
        notify: called with sentences about it.
        live: whether it runs in a thread; else every frame is waited for.
        scale: as for FusedEstimator.
    """
    network = open_network(wanted, weights, notify)
    if network is None:
        return None
    slow = BackgroundEstimator(network, notify) if live else EveryFrame(network)
    return FusedEstimator(slow, notify, scale)


def open_network(wanted: str, weights: str | None, notify: Callable[[str], None]) -> PyFeat | None:
    """Loads py-feat alone, where it is wanted and present; that takes some seconds.

    Args:
        wanted: one of ESTIMATORS; "auto" for py-feat where its weights and a GPU are present.
        weights: py-feat's, a path; None finds them.
        notify: called with one sentence where it is wanted and missing.
    """
    if wanted == FAST:
        return None
    try:
        found = find_weights(weights)
        if wanted == "auto" and weights is None and not usable():
            return None
        notify("py-feat is being loaded, which takes some seconds")
        return PyFeat(found)
    except EngineError as error:
        if wanted == "auto" and weights is None:
            LOG.debug("py-feat is left out: %s", error)
        else:
            notify(f"{error} Going on with MediaPipe's AUs alone.")
        return None
