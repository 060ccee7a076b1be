"""Two estimators, one driver: MediaPipe's AUs of every frame, and of some AUs those of a slower estimator that sees them better.

The slow one's newest estimate is held; from one to the next its AUs move in a straight line, then through the One-Euro filter that everything
goes through (track.py). MediaPipe still says how the sides of a face differ. An estimator that dies or does not answer is left, and taken up
again, within FADE_S, and nobody waits for it.

Changes are joined, not intensities: each estimator has a rest of its own.
"""

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
from realtime.tracking.background_estimator import BackgroundEstimator, Estimate, EveryFrame

ESTIMATORS = ("auto", "mediapipe", "py-feat")
FAST, SLOW = "mediapipe", "py-feat"


@dataclass(frozen=True)
class AuSource:
    """Where an AU comes from."""

    source: str
    reason: str
    oldest_s: float = 0.0  # of the slow one's estimates: older ones are worse than MediaPipe's


# F1: py-feat 2 on DISFA+, which it was not trained on, as its authors published it (huggingface.co/datasets/py-feat/benchmarks; AUs of intensity
# 2 and more, from .5 on). What is said of the mesh was measured: train/LOG.md.
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
    "AU18": AuSource(FAST, "py-feat does not tell it"),
    "AU22": AuSource(FAST, "py-feat does not tell it"),
}
FROM_SLOW = tuple(au for au, better in SOURCES.items() if better.source == SLOW)
PLACES = {au: au_estimator.index((au,)) for au in FROM_SLOW}  # in the order of ESTIMATED, of both sides

FADE_S = 0.4  # between the two; shorter jumps, longer leaves a dead source on the face
LONGEST_GLIDE_S = 0.5  # from one estimate to the next
SILENT_S = 3.0  # without an answer, before that is told
REST_S, REST_ESTIMATES = 1.0, 5  # from which the driver's rest is learnt
REST_PERCENTILE, HIGHEST_REST = 20.0, 0.6  # as realtime/tracking/neutral.py does it for MediaPipe's
STAYS = 1.3  # times the oldest that is taken up: what has been taken up is kept that long, or it would come and go
AGE_SHARE = 0.3  # of the newest in the running mean of how old estimates get


class FusedEstimator:
    """Called with MediaPipe's change and the frame that it is of; returns the change of both. Close it at the end."""

    def __init__(
        self, slow: BackgroundEstimator | EveryFrame, say: Callable[[str], None], scale: Scale | None = None
    ):
        """scale: the driver's, from a profile, or Scale.default() for pictures, which have no rest; None learns the rest."""
        self._slow, self._say, self._scale = slow, say, scale
        self._full = scale.full if scale else None  # stays when the rest is learnt anew
        self._lesson: list[Estimate] = []
        self._seen: Estimate | None = None  # the newest that was taken up
        self._from, self._to = np.zeros(len(AUS), np.float32), np.zeros(len(AUS), np.float32)
        self._glide_start_s, self._glide_s = 0.0, 0.0
        self._oldest_s: float | None = None  # how old estimates get before the next comes, a running mean
        self._weights = dict.fromkeys(FROM_SLOW, 0.0)
        self._last_s: float | None = None
        self._waiting_s: float | None = None  # since when an answer is due
        self._answers = 0
        self._silent = self._judged = self._retired = False

    def __call__(self, change: np.ndarray, frame: Frame, face: Face) -> np.ndarray:
        """(41,) change from neutral in the order of ESTIMATED -> (41,) float32 with AUs of the slow estimator in it."""
        now_s = frame.captured_s
        elapsed_s = 0.0 if self._last_s is None else now_s - self._last_s
        if not self._retired:
            self._slow.offer(frame, face)
        newest = self._slow.newest
        if newest is not None and newest is not self._seen:
            self._take_up(newest, now_s)
        self._listen(now_s, elapsed_s)
        joined = np.array(change, np.float32)
        shown = self._shown(now_s)
        for au in FROM_SLOW:
            step = elapsed_s / FADE_S
            self._weights[au] += min(max(self._usable(au, now_s) - self._weights[au], -step), step)
            if self._weights[au]:
                places = PLACES[au]
                joined[places] += self._weights[au] * (
                    shown[AUS.index(au)] - joined[places].mean()
                )  # sides differ as before
        self._last_s = now_s
        return np.clip(joined, -1, 1)

    def relearn(self) -> None:
        """Learns the rest anew from the next estimates. For any thread."""
        self._scale, self._lesson = None, []

    @property
    def weights(self) -> dict[str, float]:
        """How much of each AU comes from the slow estimator now, 0..1."""
        return dict(self._weights)

    def close(self) -> None:
        self._slow.close()

    def _take_up(self, newest: Estimate, now_s: float) -> None:
        before, self._seen, self._waiting_s = self._seen, newest, None
        self._answers += 1
        age_s = 2 * (now_s - newest.captured_s) if before is None else now_s - before.captured_s
        self._oldest_s = (
            age_s if self._oldest_s is None else self._oldest_s + AGE_SHARE * (age_s - self._oldest_s)
        )
        scale = self._scale or self._learn(newest)
        if scale is None:
            return
        self._from = self._shown(now_s)
        self._to = scale.change(newest.values)
        apart_s = (
            0.0 if before is None or newest.captured_s >= now_s else newest.captured_s - before.captured_s
        )
        self._glide_start_s, self._glide_s = now_s, float(np.clip(apart_s, 0.0, LONGEST_GLIDE_S))

    def _learn(self, newest: Estimate) -> Scale | None:
        lesson = self._lesson  # another thread may begin a new one
        lesson.append(newest)
        if len(lesson) < REST_ESTIMATES or newest.captured_s - lesson[0].captured_s < REST_S:
            return None
        rest = np.percentile([estimate.values for estimate in lesson], REST_PERCENTILE, axis=0)
        self._scale, self._lesson = Scale.of_driver(np.minimum(rest, HIGHEST_REST), self._full), []
        return self._scale

    def _shown(self, now_s: float) -> np.ndarray:
        """(17,) the slow estimator's change at this moment, on its way to the newest."""
        share = 1.0 if self._glide_s <= 0 else min(1.0, (now_s - self._glide_start_s) / self._glide_s)
        return self._from + np.float32(share) * (self._to - self._from)

    def _usable(self, au: str, now_s: float) -> float:
        """1 where this AU should come from the slow estimator now, else 0."""
        if self._slow.ended or self._scale is None or self._seen is None or self._silent or self._retired:
            return 0.0
        oldest_s = SOURCES[au].oldest_s * (STAYS if self._weights[au] else 1)
        return float(self._oldest_s <= oldest_s and now_s - self._seen.captured_s <= 2 * oldest_s)

    def _listen(self, now_s: float, elapsed_s: float) -> None:
        """Tells, once, that the slow estimator has begun, has fallen silent, or answers again."""
        if self._slow.ended or self._retired:
            return
        if self._waiting_s is None or elapsed_s > SILENT_S:  # nobody was in view: nothing was asked
            self._waiting_s = now_s
        silent = now_s - self._waiting_s > SILENT_S
        if silent and not self._silent:
            self._say(
                f"{self._slow.name} has not answered for {SILENT_S:.0f} s: MediaPipe's AUs alone until it does."
            )
        elif self._silent and not silent:
            self._say(f"{self._slow.name} answers again.")
        self._silent = silent
        if not self._judged and self._scale is not None and self._answers >= REST_ESTIMATES:
            self._judge()

    def _judge(self) -> None:
        """Tells what comes from it; one that is too slow for everything is not asked again, since it would take cores for nothing."""
        self._judged = True
        used = [au for au in FROM_SLOW if self._oldest_s <= SOURCES[au].oldest_s]
        if used:
            self._say(f"{self._slow.name}: {', '.join(used)} from it, the rest from MediaPipe")
            return
        self._retired = True
        self._slow.stop()
        self._say(
            f"{self._slow.name} is too slow here (what it says is {self._oldest_s:.1f} s old): going on with MediaPipe's AUs alone."
        )


def open_second(
    wanted: str,
    weights: str | None,
    say: Callable[[str], None],
    live: bool = True,
    scale: Scale | None = None,
) -> FusedEstimator | None:
    """What --aus asks for beside MediaPipe: None for nothing. live: in a thread; else every frame is waited for. scale: as in FusedEstimator."""
    network = open_network(wanted, weights, say)
    return network and FusedEstimator(
        BackgroundEstimator(network, say) if live else EveryFrame(network), say, scale
    )


def open_network(wanted: str, weights: str | None, say: Callable[[str], None]) -> PyFeat | None:
    """py-feat alone, where --aus asks for it. That it is not there is told in one sentence, within a second; loading takes some.

    auto: where its weights and a GPU are there.
    """
    if wanted == FAST:
        return None
    try:
        found = find_weights(weights)
        if wanted == "auto" and weights is None and not usable():
            return None
        say("py-feat is being loaded, which takes some seconds")
        return PyFeat(found)
    except EngineError as error:
        if wanted == "auto" and weights is None:
            LOG.debug("py-feat is left out: %s", error)
        else:
            say(f"{error} Going on with MediaPipe's AUs alone.")
        return None
