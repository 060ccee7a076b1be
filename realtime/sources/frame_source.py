"""What every source of driver frames promises."""

from typing import Protocol

from realtime.messages import Frame, NotYet


class FrameDriver(Protocol):
    """A source of driver frames. `live` is true when frames come at their own time and cannot be asked for again."""

    live: bool
    fps: float  # nominal
    length: int | None  # frames, where that is known
    has_rest: bool  # whether it starts from a resting face from which a neutral can be learnt
    note: str  # what is wrong with it, in two words for a screen; "" when nothing is

    def read(self) -> Frame | NotYet | None: ...

    def close(self) -> None: ...
