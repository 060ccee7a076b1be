"""What the user can switch while the puppet plays, and the key of each. Knows neither windows nor threads."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Controls:
    """Switches, set by keys and signals on the main thread and read by every other; each is one attribute, so none needs a lock."""

    say: Callable[[str], None] = lambda _sentence: None
    panic: bool = False  # the still photo, at once
    paused: bool = False  # the slate
    ending: bool = False
    mirror: bool = True  # the preview only: people expect a mirror of themselves, others must be able to read a sign
    hud: bool = True  # figures and notes over the preview
    help: bool = False  # the keys over the preview

    @property
    def covered(self) -> bool:
        """Whether something stands in the puppet's place."""
        return self.panic or self.paused

    def toggle_panic(self, *_signal: object) -> None:
        """The still photo instead of the puppet, or back; also a signal's handler."""
        self.panic = not self.panic
        self.say("The still photo is shown; the same key lets the puppet move again." if self.panic else "The puppet moves again.")

    def toggle_pause(self) -> None:
        self.paused = not self.paused
        self.say("Paused: the slate is shown; p goes on." if self.paused else "The puppet goes on.")

    def toggle_mirror(self) -> None:
        self.mirror = not self.mirror

    def toggle_hud(self) -> None:
        self.hud = not self.hud

    def toggle_help(self) -> None:
        self.help = not self.help

    def end(self) -> None:
        self.ending = True

    def press(self, key: str) -> bool:
        """Does what a key means; false for a key that means nothing."""
        for known in KEYS:
            if key in known.keys:
                known.do(self)
                return True
        return False


@dataclass(frozen=True)
class Key:
    """A key, or several for one thing."""

    keys: tuple[str, ...]
    name: str
    what: str
    do: Callable[[Controls], None]


ESCAPE = "\x1b"
KEYS: tuple[Key, ...] = (
    Key((" ", ESCAPE), "space, Esc", "panic: the still photo at once, and back", Controls.toggle_panic),  # what a hand finds blindly
    Key(("p",), "p", "pause: a slate, and back", Controls.toggle_pause),
    Key(("m",), "m", "mirror this preview (never what others see)", Controls.toggle_mirror),
    Key(("h",), "h", "figures on or off", Controls.toggle_hud),
    Key(("?", "/"), "?", "these keys", Controls.toggle_help),
    Key(("q",), "q", "end", Controls.end),
)
