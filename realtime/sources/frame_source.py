"""What every source of driver frames promises: live ones, whose frames come at their own time, and files."""

from typing import Literal, Protocol

from realtime.messages import Frame, NotYet


class LiveFrames(Protocol):
    """A camera, or a file played like one: frames come at their own time and cannot be requested again."""

    @property
    def live(self) -> Literal[True]: ...

    @property
    def fps(self) -> float:
        """Nominal frames a second."""
        ...

    @property
    def has_rest(self) -> bool:
        """Whether it starts with a resting face, from which a neutral can be learnt."""
        ...

    @property
    def note(self) -> str:
        """What is wrong with it, in two words for a screen; "" when nothing is."""
        ...

    def read(self) -> Frame | NotYet | None:
        """The next frame, stamped when the device handed it over.

        Returns: NOT_YET when there is none after a short wait (call it again), None once there will be no
        more.
        Raises: DriverError when the source fails.
        """
        ...

    def close(self) -> None: ...


class FileFrames(Protocol):
    """A clip or a picture: each frame is there as soon as it is requested, none is skipped.

    Frames begin at multiples of 1 / fps, and last until the next one begins.
    """

    @property
    def live(self) -> Literal[False]: ...

    @property
    def fps(self) -> float:
        """Nominal frames a second."""
        ...

    @property
    def has_rest(self) -> bool:
        """Whether it starts with a resting face, from which a neutral can be learnt: a picture does not."""
        ...

    @property
    def length(self) -> int | None:
        """How many times 1 / fps it lasts, where that is known."""
        ...

    def read(self) -> Frame | None:
        """The next frame, with its time in the file; None after the last. Raises DriverError."""
        ...

    def close(self) -> None: ...
