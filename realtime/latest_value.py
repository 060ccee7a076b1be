"""A slot between two threads that holds one value, the newest: a stale frame is worse than a missing one."""

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """`put` never waits and replaces a value that was not taken; `take` waits for one."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._value: T | None = None
        self._closed = False
        self.dropped = 0  # values replaced before they were taken

    def put(self, value: T) -> None:
        with self._condition:
            self.dropped += self._value is not None
            self._value = value
            self._condition.notify_all()

    def take(self, timeout_s: float) -> T | None:
        """The newest value that was not taken yet; None after timeout_s without one, or when the slot was
        closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._value is not None or self._closed, timeout_s)
            value = self._value
            self._value = None
            self._condition.notify_all()
            return value

    def wait_empty(self, timeout_s: float) -> None:
        """Waits up to timeout_s until the value was taken: for producers that should not run ahead."""
        with self._condition:
            self._condition.wait_for(lambda: self._value is None or self._closed, timeout_s)

    def close(self) -> None:
        """Wakes every thread that waits; later calls of `take` return at once."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
