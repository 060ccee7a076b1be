"""What AUs that are asked for together come to: a combination must not do more to the puppet than it does to
the driver.

Lids are one opening: AU05, AU07 and AU45 each move it, and a network that is asked for all three would shut
an eye that the driver only narrows, or fail to shut one. Lips cannot be drawn together and apart at once.
"""

import numpy as np

from engines.face.action_units import EXPRESSION, LEFT, RIGHT

_BLINK, _WIDEN, _TIGHTEN = (
    [EXPRESSION.index(au + side) for side in (RIGHT, LEFT)] for au in ("AU45", "AU05", "AU07")
)
_NARROW = [EXPRESSION.index(au) for au in ("AU18", "AU22")]
_STRETCH = EXPRESSION.index("AU20")


def combined(asked: np.ndarray) -> np.ndarray:
    """Changes (41,) from rest, each as it was asked for -> (41,) float32 as they go together.

    As far as AU45 shuts an eye, AU05 and AU07 of that side have nothing left to move, either way. Of lips
    that are drawn together (AU18, AU22) and stretched (AU20) at once, the stronger wins by what it is
    stronger.
    """
    together = np.array(asked, np.float32)
    still_open = 1 - np.clip(together[_BLINK], 0, 1)
    together[_WIDEN] *= still_open
    together[_TIGHTEN] *= still_open
    narrow, stretch = float(together[_NARROW].max()), float(together[_STRETCH])
    both = min(narrow, stretch)
    if both > 0:
        together[_STRETCH] = stretch - both
        together[_NARROW] *= (narrow - both) / narrow
    return together
