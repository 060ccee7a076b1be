"""Lips that are shut in a photo stick: a generator parts them only from an AU25 of about .2 on, and speech
whose lips part a little was a shut mouth.

A driver's inner lips part by .28 outer eye distances a unit of AU25 from the first tenth on. On two photos
with shut lips the default engine, asked for AU25 .1, .2, .3 and .4 alone, parts them by 0, 0, .04 and .08
instead of .03, .06, .08 and .11; where AU26 goes along half as far, by 0, .04, .09 and .13. So AU25 is asked
for as much further as is lost, less where the jaw drops or the photo's lips are apart. Near 0 little is
added: a driver's tremble at rest must not part lips.
"""

import numpy as np

STICKS = 0.17  # of AU25
EASED = 0.06  # AU25 from which on all of it is added
GONE = 0.7  # AU25 at which nothing is added: there a generator does what is asked
JAW = 0.4  # AU26 that parts them by itself
APART = 0.15  # the photo's own AU25, at which nothing sticks


def parted(asked: float, jaw: float, own: float) -> float:
    """What to ask of an engine for lips that shall part.

    Args:
        asked, jaw: changes of AU25 and AU26, -1..1.
        own: the photo's AU25, 0..1.

    Returns:
        The change of AU25 to ask for; as it is where lips shall not part.
    """
    if asked <= 0 or asked >= GONE:
        return asked
    sticks = STICKS * max(0.0, 1 - own / APART) * (1 - min(max(jaw, 0.0) / JAW, 1))
    return asked + sticks * (1 - float(np.exp(-asked / EASED))) * (1 - asked / GONE)
