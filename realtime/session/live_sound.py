"""The microphone of a live run: there from the start, or opened when a recording with sound is begun."""

from collections.abc import Callable

from realtime.audio.microphone import Microphone


class LiveSound:
    """Closed with the run. For the main thread."""

    def __init__(self, microphone: Microphone | None, say: Callable[[str], None]):
        """microphone: closed by whoever opened it."""
        self.microphone = microphone
        self._say = say
        self._own: Microphone | None = None

    def choose(self, name: str | None) -> None:
        """Opens a microphone for the recordings that are begun from now on; None: without sound.

        Raises DriverError.
        """
        self.close()
        self.microphone = None
        if name is not None:
            self._own = self.microphone = Microphone(name, self._say)

    def mute(self, muted: bool) -> None:
        if self.microphone:
            self.microphone.muted = muted

    def close(self) -> None:
        own, self._own = self._own, None
        if own:
            own.close()
