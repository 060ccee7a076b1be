"""What the user can switch in a live run, and the key of each. Knows neither windows nor threads."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Controls:
    """Switches: set by keys on the main thread, panic by a signal's thread as well, and read by all others.

    Each is one attribute, so none needs a lock.
    """

    say: Callable[[str], None] = lambda _sentence: None
    panic: bool = False  # the still photo, at once
    paused: bool = False  # the slate
    ending: bool = False
    mirror: bool = True  # the preview only: people expect a mirror of themselves
    hud: bool = True  # figures and notes over the preview
    help: bool = False  # the keys over the preview
    actions: dict[str, Callable[[], None]] = field(default_factory=dict)  # of this run, by the names in KEYS

    @property
    def covered(self) -> bool:
        """Whether the still photo or the slate is shown instead of the puppet."""
        return self.panic or self.paused

    def toggle_panic(self) -> None:
        """The still photo instead of the puppet, or back. For any thread."""
        self.panic = not self.panic
        if self.panic:
            self.say("The still photo is shown; the same key lets the puppet move again.")
        else:
            self.say("The puppet moves again.")

    def toggle_pause(self) -> None:
        self.paused = not self.paused
        self.say("Paused: the slate is shown; p goes on." if self.paused else "The puppet goes on.")

    def end(self) -> None:
        self.ending = True

    def toggle(self, switch: str) -> None:
        """Switches one of the attributes, by its name."""
        setattr(self, switch, not getattr(self, switch))

    def act(self, name: str) -> None:
        """Does one of the actions; where this run has none of that name, says so."""
        if name in self.actions:
            self.actions[name]()
        else:
            self.say(f"There is nothing here for the key of {name!r}.")

    def press(self, key: str) -> bool:
        """Does what a key means; returns False for a key that means nothing."""
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


def _acts(key: str, name: str, what: str, *more_keys: str) -> Key:
    return Key((key, *more_keys), key, what, lambda controls: controls.act(name))


def _toggles(key: str, switch: str, what: str, *more_keys: str) -> Key:
    return Key((key, *more_keys), key, what, lambda controls: controls.toggle(switch))


ESCAPE = "\x1b"
KEYS: tuple[Key, ...] = (
    # The keys that a hand finds without looking.
    Key((" ", ESCAPE), "space, Esc", "panic: the still photo at once, and back", Controls.toggle_panic),
    Key(("p",), "p", "pause: a slate, and back", Controls.toggle_pause),
    _acts("c", "recalibrate", "learn your resting face again, for a second"),
    _acts("+", "stronger", "stronger", "="),
    _acts("-", "weaker", "weaker"),
    _acts("1", "brows", "brows on or off"),
    _acts("2", "eyes", "eyes on or off"),
    _acts("3", "mouth", "mouth on or off"),
    _acts("4", "head", "head on or off"),
    _acts("5", "gaze", "gaze on or off"),
    _acts("n", "next photo", "the next photo of a folder"),
    _acts("r", "record", "record into a file, and stop"),
    _toggles("m", "mirror", "mirror this preview (never what others see)"),
    _toggles("h", "hud", "figures and bars on or off"),
    _toggles("?", "help", "these keys", "/"),
    Key(("q",), "q", "end", Controls.end),
)
