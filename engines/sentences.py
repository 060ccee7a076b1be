"""Parts of sentences for people that several packages say."""

from collections.abc import Sequence

MAX_NAMED = 5


def some_of(names: Sequence[str], most: int = MAX_NAMED, count: int | None = None) -> str:
    """Names for a sentence, the first `most` of many: "a.txt, b.pdf and 7 more".

    Args:
        count: how many there are, where `names` has only the first of them.
    """
    hidden = (len(names) if count is None else count) - len(names[:most])
    return ", ".join(names[:most]) + (f" and {hidden} more" if hidden > 0 else "")
