"""The changes of AUs in training pairs: single AUs, combinations, other expressions, one side alone."""

import numpy as np

from engines.face.action_units import SIDED, WIDE, sides
from engines.face.au_estimator import index
from train.synthesis.deform import WHOLE

# AUs that act together in real faces; sampled besides single AUs.
TOGETHER = (
    ("AU06", "AU12"),
    ("AU01", "AU02"),
    ("AU25", "AU26"),
    ("AU15", "AU17"),
    ("AU06", "AU12", "AU25"),
    ("AU12", "AU25"),
    ("AU01", "AU02", "AU05", "AU25", "AU26"),
    ("AU04", "AU07"),
    ("AU04", "AU09", "AU10"),
    ("AU17", "AU23"),
    ("AU01", "AU04", "AU15"),
    ("AU20", "AU25"),
    ("AU09", "AU10"),
    ("AU06", "AU12", "AU25", "AU26"),
    ("AU07", "AU45"),
    ("AU18", "AU22"),
    ("AU18", "AU25"),
    ("AU22", "AU25", "AU26"),
    ("AU01", "AU02", "AU45"),
)
EVERY_GROUP = (
    ("AU01", "AU02", "AU04"),
    ("AU05", "AU06", "AU07", "AU45"),
    ("AU09", "AU10", "AU12", "AU14", "AU15", "AU17", "AU18", "AU20", "AU22", "AU23", "AU25", "AU26"),
)
# How often a single AU is drawn: those that speech and looking around use most, and the blink, whose flow is
# small and hard to find.
OFTEN = {
    "AU45": 3.0,
    "AU01": 2.0,
    "AU02": 2.0,
    "AU04": 1.5,
    "AU12": 1.5,
    "AU15": 1.5,
    "AU23": 1.5,
    "AU25": 1.5,
    "AU26": 1.5,
    "AU18": 1.5,
}
ONE_SIDE_SHARE = 0.3  # of the times that a sided AU is set: winks and crooked smiles are rarer than smiles
_SINGLE = np.array([OFTEN.get(au, 1.0) for au in WHOLE]) / sum(OFTEN.get(au, 1.0) for au in WHOLE)


def draw_change(
    rng: np.random.Generator, own: np.ndarray, others: np.ndarray, towards_rest: bool
) -> np.ndarray:
    """Draws a wanted change.

    Args:
        rng: source of random numbers.
        own: (29,) intensities of the face, 0..1.
        others: (29,) intensities of another face, 0..1.
        towards_rest: draw more changes that lower the expression.

    Returns:
        (29,) float32 change, -1..1.
    """
    wanted = own.copy()
    choice = rng.random()
    if towards_rest and choice < 0.55:
        wanted *= rng.uniform(0, 0.6)
        if rng.random() < 0.3:
            set_random_aus(rng, wanted)
    elif choice < 0.45:
        set_random_aus(rng, wanted)
    elif choice < 0.75:
        for group in EVERY_GROUP:
            if rng.random() < 0.75:
                wanted[index(group)] = others[index(group)]
    else:
        wanted *= rng.uniform(0, 0.5)
        set_random_aus(rng, wanted)
    return np.clip(wanted - own, -1, 1).astype(np.float32)


def set_random_aus(rng: np.random.Generator, wanted: np.ndarray) -> None:
    """Sets one AU, or some that act together, to a level, in place; sometimes on one side alone."""
    level = rng.uniform(0.3, 1.0) if rng.random() < 0.85 else 0.0
    together = (
        TOGETHER[rng.integers(len(TOGETHER))] if rng.random() < 0.5 else (str(rng.choice(WHOLE, p=_SINGLE)),)
    )
    side = int(rng.integers(2)) if rng.random() < ONE_SIDE_SHARE else None
    for au in together:
        value = np.clip(level * rng.uniform(0.8, 1.2), 0, 1) if len(together) > 1 else level
        wanted[index([au]) if side is None or au not in SIDED else WIDE.index(sides(au)[side])] = value


def add_blink(rng: np.random.Generator, own: np.ndarray, change: np.ndarray) -> None:
    """Shuts the eyes, or one of them, more or less, in place: people blink in any expression."""
    places = index(["AU45"])
    places = places if rng.random() > ONE_SIDE_SHARE else [places[rng.integers(2)]]
    change[places] = np.clip(rng.uniform(0.3, 1.0) - own[places], -1, 1)
