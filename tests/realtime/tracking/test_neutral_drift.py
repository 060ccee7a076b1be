"""The neutral over minutes: smiles, talk, a bad start, a slow change. Faces are AU tracks."""

from collections.abc import Callable

import numpy as np
import pytest

from engines.face.au_estimator import ESTIMATED, index
from realtime.calibration.profile_fit import make
from realtime.tracking.neutral import Neutral
from realtime.tracking.neutral_drift import HELD_S
from tests.support.fakes import speak

FPS = 30.0
REST = speak(ESTIMATED, AU01=0.1, AU05=0.3, AU07=0.5, AU14=0.3, AU15=0.2, AU17=0.15, AU45=0.12)
GRIN = REST + speak(
    ESTIMATED, AU12=0.7, AU06=0.5, AU25=0.4, AU07=0.2, AU05=-0.2, AU14=-0.3, AU15=-0.2, AU17=-0.15
)
FAINT = REST + speak(ESTIMATED, AU12=0.25, AU06=0.1)
SMILE = index(["AU12"])
Look = Callable[[float], np.ndarray]


def live(
    neutral: Neutral, look: Look, seconds: float, start_s: float = 0.0, tremble: float = 0.015
) -> np.ndarray:
    """(T, 41) the neutral after each frame of a face, which blinks every four seconds and jitters."""
    rng, noise, seen = np.random.default_rng(0), np.zeros(len(ESTIMATED)), []
    for n in range(int(seconds * FPS)):
        t = start_s + n / FPS
        noise = 0.8 * noise + 0.6 * rng.normal(0, tremble, len(ESTIMATED))
        aus = look(t) + noise
        if t % 4 < 0.2:
            aus = aus + speak(ESTIMATED, AU45=0.8, AU07=0.1, AU05=-0.3)
        neutral.learn(np.clip(aus, 0, 1).astype(np.float32), t)
        seen.append(np.zeros(len(ESTIMATED)) if neutral.neutral is None else neutral.neutral)
    return np.array(seen)


def learnt(look: Look) -> Neutral:
    neutral = Neutral()
    live(neutral, look, 1.2)
    assert neutral.neutral is not None
    return neutral


def test_a_minute_of_smile_does_not_become_the_neutral():
    def laughing(t: float) -> np.ndarray:
        return REST + (GRIN - REST) * (0.7 + 0.3 * np.sin(2 * np.pi * 0.3 * t))

    for smile in (lambda _: GRIN, lambda _: FAINT, laughing):
        neutral = learnt(lambda _: REST)
        live(neutral, lambda _: REST, 10, 1.2)
        before = neutral.neutral
        after = live(neutral, smile, 60, 12)[-1]
        assert np.abs(after - before)[SMILE].max() < 0.02
        assert np.abs(after - before).max() < 0.02, "and no other AU goes with it"


@pytest.mark.parametrize("tremble", [0.005, 0.015, 0.03])
def test_a_start_with_a_grin_is_corrected_within_four_seconds_of_rest(tremble):
    neutral = learnt(lambda _: GRIN)
    assert neutral.unrest == "smiled" and neutral.neutral[SMILE].max() < 0.2
    track = live(neutral, lambda _: REST, 6, 2, tremble)
    wrong = np.abs(track - REST).max(axis=1) > 0.08
    print(f"tremble {tremble}: corrected after {np.flatnonzero(wrong)[-1] / FPS:.1f} s of rest")
    assert np.flatnonzero(wrong)[-1] / FPS < 4


def test_a_start_in_talk_is_corrected_in_the_first_pause():
    neutral = learnt(talking)
    track = live(neutral, lambda t: REST if t % 10 < 3 else talking(t), 60, 10)
    assert np.abs(track[-1] - REST).max() < 0.1


def talking(t: float) -> np.ndarray:
    beat = np.sin(2 * np.pi * 4.1 * t)
    phrase = np.sin(2 * np.pi * 1.3 * t)
    moves = speak(ESTIMATED, AU25=0.3, AU26=0.25, AU10=0.1) * (1 + beat) + speak(
        ESTIMATED, AU18=0.3, AU22=0.2, AU15=0.1
    ) * (1 + phrase)
    return REST + moves + speak(ESTIMATED, AU01=0.3) * max(0.0, np.sin(0.9 * t))


def test_minutes_of_talk_do_not_move_it():
    neutral = learnt(lambda _: REST)
    before = neutral.neutral
    assert np.abs(live(neutral, talking, 180, 2)[-1] - before).max() < 0.02


def test_it_follows_posture_and_light_in_minutes():
    neutral = learnt(lambda _: REST)
    slouch = speak(ESTIMATED, AU04=0.12, AU05=-0.15, AU15=0.1)
    track = live(neutral, lambda t: REST + slouch * min(1.0, t / 600), 900, 2)
    error = np.abs(
        track - [REST + slouch * min(1.0, t / 600) for t in np.arange(2, 902, 1 / FPS)[: len(track)]]
    ).max(axis=1)
    print(f"a drift of 0.15 in ten minutes: never more than {error.max():.3f} behind")
    assert error.max() < 0.06


def test_a_sudden_change_of_posture_is_taken_over_once_it_was_held_for_minutes():
    neutral = learnt(lambda _: REST)
    bent = REST + speak(ESTIMATED, AU04=0.25, AU17=0.2)
    track = live(neutral, lambda _: bent, HELD_S + 300, 2)
    brows = track[:, index(["AU04"])].mean(axis=1) - REST[index(["AU04"])].mean()
    print(
        f"a step of 0.25: {brows[int(60 * FPS)]:.3f} of it after one minute, "
        f"{brows[-1]:.3f} after {HELD_S / 60 + 5:.0f}"
    )
    assert brows[int(60 * FPS)] < 0.02 and brows[-1] > 0.2


def test_a_smile_of_five_minutes_is_gone_four_seconds_after_it():
    """So long a smile is taken for rest, as far as a face can rest so, and only while it is held."""
    neutral = learnt(lambda _: REST)
    live(neutral, lambda _: GRIN, 300, 2)
    assert neutral.neutral[SMILE].max() < 0.2, "and a smile is a smile, however long it is held"
    assert np.abs(live(neutral, lambda _: REST, 4, 302)[-1] - REST).max() < 0.08


def test_eyes_that_are_shut_for_a_minute_are_not_the_neutral():
    neutral = learnt(lambda _: REST)
    before = neutral.neutral
    shut = REST + speak(ESTIMATED, AU45=0.7, AU05=-0.3)
    assert np.abs(live(neutral, lambda _: shut, 60, 2)[-1] - before).max() < 0.02


def test_a_picture_has_no_rest_to_follow():
    still = Neutral.absent()
    assert not live(still, lambda _: FAINT, 300)[-1].any()


def test_lips_that_shut_once_were_parted_at_rest():
    """Who starts in the middle of a word: what they say with lips that part a little is no shut mouth."""
    apart = index(["AU25"])

    def talking(t: float) -> np.ndarray:
        shut = 10 < t % 20 < 10.1  # of a p or a b: three frames
        return REST + (0 if shut else 1) * speak(ESTIMATED, AU25=0.25, AU17=0.1 * np.sin(20 * t))

    neutral = learnt(talking)
    before = neutral.neutral
    assert 0.1 < before[apart] < 0.3, "as far as they were seen"
    after = live(neutral, talking, 15, 1.2)[-1]
    assert after[apart] < 0.1
    others = np.delete(np.arange(29), apart)
    assert np.abs(after - before)[others].max() < 0.05
    change = neutral.change(talking(0).astype(np.float32))
    assert change[apart] > 0.15


def test_time_that_stands_still_or_leaps_teaches_nothing():
    neutral, calm = learnt(lambda _: GRIN), REST.copy()
    before = neutral.neutral
    calm[index(["AU25"])] = 0.4  # lips that shut are believed at once
    for t in (1.2, 1.2, 1.0, 500.0, 500.0, 900.0, 1300.0):
        neutral.learn(calm, t)
    assert np.array_equal(neutral.neutral, before)


def test_the_same_readings_give_the_same_neutral():
    first, second = (
        live(learnt(lambda _: GRIN), lambda t: REST if t > 8 else talking(t), 20, 2) for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_with_a_profile_the_neutral_is_known_at_once_and_the_key_learns_it_alone():
    rng = np.random.default_rng(0)
    rest = np.clip(REST + rng.normal(0, 0.01, (60, len(ESTIMATED))), 0, 1)
    profile = make(rest, REST, REST + speak(ESTIMATED, AU12=0.4, AU26=0.5))
    known = Neutral(profile)
    known.learn(REST, 0.0)
    half, full = (
        known.change(REST + speak(ESTIMATED, AU12=0.2)),
        known.change(REST + speak(ESTIMATED, AU12=0.4)),
    )
    assert half[SMILE] == pytest.approx(0.5, abs=0.05) and full[SMILE] == pytest.approx(1, abs=1e-3)
    assert np.abs([known.change(row) for row in rest]).max() <= 0.03, "the noise floor swallows the tremble"
    relearnt = Neutral(profile, relearn=True)
    assert relearnt.neutral is None and not relearnt.change(GRIN).any()
    lifted = REST + speak(ESTIMATED, AU12=0.1)
    live(relearnt, lambda _: lifted, 1.2, tremble=0.003)
    assert relearnt.neutral == pytest.approx(lifted, abs=0.02)
    assert relearnt.change(lifted + speak(ESTIMATED, AU12=0.4))[SMILE].min() > 0.95, (
        "the range is the profile's"
    )
