"""How long to wait before something that failed is tried again."""


class Backoff:
    """Exponential backoff: each wait is twice the last one, up to a limit, until a success starts it over."""

    def __init__(self, first_s: float, longest_s: float, steady_s: float = 0.0):
        """
        Args:
            first_s: the first wait, in seconds.
            longest_s: the limit of all waits: what returns has to be found again while its user still looks.
            steady_s: a connection that fails sooner after its opening was no success: see `failed_after`.
        """
        self._first_s = first_s
        self._longest_s = longest_s
        self._steady_s = steady_s
        self.wait_s = first_s  # before the next attempt

    def advance(self) -> float:
        """Returns the wait before the next attempt, and doubles the one after it."""
        wait_s = self.wait_s
        self.wait_s = min(2 * wait_s, self._longest_s)
        return wait_s

    def reset(self) -> None:
        """After a success: the next wait is the first one again."""
        self.wait_s = self._first_s

    def failed_after(self, lasted_s: float) -> None:
        """A connection that had lasted lasted_s seconds failed: resets the waits if it had been steady."""
        if lasted_s > self._steady_s:
            self.reset()
