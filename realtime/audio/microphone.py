"""The driver's sound: blocks from a microphone, read in a background thread, for its subscribers. Never
stored, never sent.

The microphone must be there at first. When it goes away later that is reported once, its subscribers get
nothing, and it is opened again when it is back. Synchronisation with pictures is av_sync.py's.
"""

import errno
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from av.device import enumerate_input_devices

from engines.errors import DriverError
from engines.quiet import quiet_stderr
from realtime.audio.av_sync import RATE_HZ, BlockClock
from realtime.process.backoff import Backoff
from realtime.process.worker import Worker

DEFAULT = "default"
BLOCK = (
    RATE_HZ // 100
)  # samples at least in a block: PulseAudio gives 3 ms at a time, too many to handle each
MAX_QUEUED = 256  # blocks for a subscriber that is late: 2.5 s at least
OPEN_S = 10.0  # macOS asks the user for permission meanwhile
SILENT_S = 2.0  # without a block; then it counts as gone
FIRST_WAIT_S = 1.0  # before it is opened again
LONGEST_WAIT_S = 15.0  # between two attempts
CLOSE_S = 0.5  # for its thread to end; one that hangs in a driver is left behind
# PyAV's wheel looks for ALSA's settings and plug-ins where it was built. These are the system's own places.
ALSA_SETTINGS = ("/usr/share/alsa",)
ALSA_PLUGINS = (
    "/usr/lib/x86_64-linux-gnu/alsa-lib",
    "/usr/lib/aarch64-linux-gnu/alsa-lib",
    "/usr/lib64/alsa-lib",
    "/usr/lib/alsa-lib",
)
CARDS = Path("/proc/asound")
ALSA_NAMES = {"default", "pulse", "pipewire", "null"}


@dataclass(frozen=True)
class Block:
    """A few milliseconds of sound."""

    samples: np.ndarray  # (n,) float32, -1 to 1, at RATE_HZ
    start_s: float  # by time.perf_counter()


class AudioDevice(Protocol):
    """One opening of a microphone."""

    def read(self) -> np.ndarray:
        """Waits for the next samples, (n,) float32 at RATE_HZ. Raises OSError when there are no more."""
        ...

    def close(self) -> None: ...


class AudioSubscription:
    """The blocks that one subscriber has not taken yet; the oldest are dropped where it is late."""

    def __init__(self, microphone: "Microphone"):
        self._blocks: deque[Block] = deque(maxlen=MAX_QUEUED)
        self._microphone = microphone

    def put(self, block: Block) -> None:
        self._blocks.append(block)

    def take(self) -> list[Block]:
        """All blocks since the last call; never waits."""
        self._microphone.check_silence()
        return [self._blocks.popleft() for _ in range(len(self._blocks))]

    def close(self) -> None:
        """Ends the subscription."""
        self._microphone.unsubscribe(self)


class Microphone:
    """A microphone that may go and come."""

    def __init__(
        self,
        name: str = DEFAULT,
        notify: Callable[[str], None] = lambda _sentence: None,
        open_device: Callable[[str], AudioDevice] | None = None,
        clock_s: Callable[[], float] = time.perf_counter,
        backoff: Backoff | None = None,
    ):
        """
        Args:
            name: as the system lists it, or the value of `--sound`.
            notify: called with one sentence for the user at each change.
            open_device: opens the microphone of that name; raises DriverError, and OSError once it has been
            open.
            backoff: the waits before it is opened again.

        Raises: DriverError when it does not open at first.
        """
        self.name = name
        self._notify = notify
        self._open = open_device or open_system_device
        self._clock_s = clock_s
        self.muted = False  # silence is passed on in place of its sound
        # Replaced, not changed: the microphone's thread iterates over it.
        self._subscriptions: tuple[AudioSubscription, ...] = ()
        self._ready = threading.Event()  # it is open, or that has failed
        self._error: Exception | None = None
        self._block_s = clock_s()  # when the newest block came
        self._gone = False
        self._block_clock = BlockClock()  # of one opening
        self._backoff = backoff or Backoff(FIRST_WAIT_S, LONGEST_WAIT_S)
        self._lock = threading.Lock()
        self._worker = Worker(self._run, "microphone")
        self._worker.start()
        if not self._ready.wait(OPEN_S):
            self._worker.stop()
            raise DriverError(
                f"The microphone {name} does not answer: "
                "unplug it and plug it in again, or leave --sound out."
            )
        if self._error:
            raise self._error

    def subscribe(self) -> AudioSubscription:
        """All blocks from now on, until it is closed."""
        subscription = AudioSubscription(self)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def unsubscribe(self, subscription: AudioSubscription) -> None:
        with self._lock:
            self._subscriptions = tuple(each for each in self._subscriptions if each is not subscription)

    def check_silence(self) -> None:
        """Reports the microphone as gone after SILENT_S without a block: a driver may hang and not fail."""
        if self._clock_s() - self._block_s > SILENT_S:
            self._report(gone=True)

    def close(self) -> None:
        self._worker.close(CLOSE_S)

    def _report(self, gone: bool) -> None:
        with self._lock:
            if gone == self._gone or self._worker.stopping:
                return
            self._gone = gone
        if gone:
            self._notify(
                f"The microphone {self.name} gives no sound any more: "
                "the recording goes on in silence; plug it in again."
            )
        else:
            self._notify(f"The microphone {self.name} is back.")

    # --- the microphone's thread
    # ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        device: AudioDevice | None = None
        try:
            # ALSA prints each of its attempts. Not at later openings: this silences the whole process for a
            # moment.
            with quiet_stderr():
                device = self._open(self.name)
        except Exception as error:  # raised by the constructor
            self._error = error
            return
        finally:
            self._ready.set()
        while not self._worker.stopping:
            try:
                if device is None:
                    device = self._open(self.name)
                    self._block_clock = BlockClock()
                self._pass_on(device.read())
                self._backoff.reset()
            except (OSError, DriverError):
                if device:
                    device.close()
                device = None
                self._report(gone=True)
                self._worker.wait(self._backoff.advance())
        if device:
            device.close()

    def _pass_on(self, samples: np.ndarray) -> None:
        if not len(samples):
            return
        self._block_s = self._clock_s()
        start_s = self._block_clock.start_s(len(samples), self._block_s)
        block = Block(np.zeros_like(samples) if self.muted else samples, start_s)
        for subscription in self._subscriptions:
            subscription.put(block)
        self._report(gone=False)


# --- the system's devices, by PyAV
# -------------------------------------------------------------------------------------


class FfmpegDevice:
    """An AudioDevice by FFmpeg's device inputs."""

    def __init__(self, file: str, kind: str, options: dict[str, str]):
        self._container = av.open(file, format=kind, options=options)
        self._frames = self._container.decode(self._container.streams.audio[0])
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)

    def read(self) -> np.ndarray:
        """As AudioDevice's."""
        parts: list[np.ndarray] = []
        while sum(map(len, parts)) < BLOCK:
            try:
                frame = next(self._frames)
            except (StopIteration, av.FFmpegError) as error:
                raise OSError("the microphone ended") from error
            frame.pts = None
            parts += [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        return np.concatenate(parts)

    def close(self) -> None:
        self._container.close()


def open_system_device(name: str) -> AudioDevice:
    """The microphone of that name, or the system's own for DEFAULT. Raises DriverError."""
    kind = {"darwin": "avfoundation", "win32": "dshow"}.get(sys.platform, "alsa")
    if kind not in av.formats_available:
        raise DriverError(
            "This system's microphones cannot be opened by the PyAV that is installed: leave --sound out."
        )
    known = microphones()
    file = {"alsa": _alsa, "avfoundation": _avfoundation, "dshow": _dshow}[kind](name, known)
    options = {
        "alsa": {"sample_rate": str(RATE_HZ), "channels": "1"},
        "dshow": {"audio_buffer_size": "50"},
    }.get(kind, {})
    try:
        return FfmpegDevice(file, kind, options)
    except (av.FFmpegError, OSError, IndexError) as error:
        if getattr(error, "errno", None) == errno.EBUSY:
            raise DriverError(
                f"The microphone {name} is in use by another program: close it, "
                "or take --sound without a name: the system's own microphone can be shared."
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise DriverError(
            f"The microphone {name} cannot be opened ({reason}): {_listed(known)}; "
            "choose one with --sound NAME."
        ) from error


def microphones() -> list[str]:
    """The names of this system's microphones; empty where it lists none."""
    if sys.platform not in ("darwin", "win32"):
        return list(alsa_cards().values())
    try:
        found = enumerate_input_devices("avfoundation" if sys.platform == "darwin" else "dshow")
    except (av.FFmpegError, ValueError):
        return []
    return [
        each.description or each.name for each in found if not each.media_types or "audio" in each.media_types
    ]


def _listed(known: list[str]) -> str:
    """The microphones of this machine, as a clause of a message."""
    return f"this machine has {', '.join(known)}" if known else "no microphone is connected"


def _unknown(name: str, known: list[str]) -> DriverError:
    return DriverError(
        f"There is no microphone named {name}: {_listed(known)}; "
        "choose one with --sound NAME, or leave --sound out."
    )


def _match(name: str, known: list[str]) -> str:
    """The first known name that contains `name`. Raises DriverError."""
    found = next((each for each in known if name.lower() in each.lower()), None)
    if found is None:
        raise _unknown(name, known)
    return found


def _alsa(name: str, known: list[str]) -> str:
    """ALSA's name of a microphone. Raises DriverError."""
    for variable, places in (("ALSA_CONFIG_DIR", ALSA_SETTINGS), ("ALSA_PLUGIN_DIR", ALSA_PLUGINS)):
        if place := next((place for place in places if os.path.isdir(place)), None):
            os.environ.setdefault(variable, place)  # there is no other way to set them
    if ":" in name or name in ALSA_NAMES:
        return name
    label = _match(name, known)
    return next(f"plughw:{card}" for card, each in alsa_cards().items() if each == label)


def alsa_cards() -> dict[str, str]:
    """Sound cards that can record: {number: name}."""
    found = {}
    for card in sorted(CARDS.glob("card[0-9]*")):
        if any(card.glob("pcm*c")):
            try:
                label = (card / "id").read_text().strip()
                lines = (CARDS / "cards").read_text().splitlines()
            except OSError:  # it is being unplugged
                continue
            detail = [line for line in lines if f"[{label}" in line.replace(" ", "")]
            name = detail[0].partition(": ")[2].strip() if detail else label
            found[card.name.removeprefix("card")] = name
    return found


def _avfoundation(name: str, known: list[str]) -> str:
    """macOS' name of a microphone. Raises DriverError."""
    return ":default" if name == DEFAULT else f":{_match(name, known)}"


def _dshow(name: str, known: list[str]) -> str:
    """Windows' name of a microphone. Raises DriverError."""
    if not known:
        raise _unknown(name, known)
    return f"audio={known[0] if name == DEFAULT else _match(name, known)}"
