"""The driver's sound: blocks from a microphone, in a thread of its own, for whoever listens. Never kept, never sent anywhere.

The microphone must be there at first. When it goes away later that is told once, whoever listens hears nothing, and it is opened
again when it is back. In step with pictures is sound.py's matter.
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

import numpy as np

from engines.errors import DriverError
from engines.face.landmarks import quiet_stderr
from realtime.audio.av_sync import RATE_HZ, Stamps

DEFAULT = "default"
BLOCK = (
    RATE_HZ // 100
)  # samples at least in a block: PulseAudio gives 3 ms at a time, too many to handle each
BLOCKS_KEPT = 256  # for a listener that is late: 2.5 s at least
OPEN_S = 10.0  # macOS asks the user for leave meanwhile
SILENT_S = 2.0  # without a block; then it counts as gone
AGAIN_S = (1.0, 2.0, 4.0, 8.0, 15.0)  # between two attempts to open it again; the last one for ever
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
    """What was heard in some milliseconds."""

    samples: np.ndarray  # (n,) float32, -1 to 1, RATE_HZ
    start_s: float  # by time.perf_counter()


class AudioDevice(Protocol):
    """One opening of a microphone."""

    def read(self) -> np.ndarray:
        """What follows, (n,) float32 at RATE_HZ; waits for it. Raises OSError when there is no more."""
        ...

    def close(self) -> None: ...


class AudioSubscription:
    """What one listener has not fetched yet; the oldest is lost where he is late."""

    def __init__(self, microphone: "Microphone"):
        self._blocks: deque[Block] = deque(maxlen=BLOCKS_KEPT)
        self._microphone = microphone
        self.put = self._blocks.append

    def take(self) -> list[Block]:
        """Everything since the last time; never waits."""
        self._microphone.watch()
        return [self._blocks.popleft() for _ in range(len(self._blocks))]

    def close(self) -> None:
        """Listens no more."""
        self._microphone.forget(self)


class Microphone:
    """A microphone that may go and come. Raises DriverError when it does not open at first."""

    def __init__(
        self,
        name: str = DEFAULT,
        say: Callable[[str], None] = lambda _sentence: None,
        open_line: Callable[[str], AudioDevice] | None = None,
        clock_s: Callable[[], float] = time.perf_counter,
    ):
        """name: as the system or `--sound` calls it; say: is told each change in one sentence; open_line: the seam for doubles."""
        self.name, self._say, self._open, self._clock_s = name, say, open_line or open_device, clock_s
        self.muted = False  # silence takes the place of what is heard
        self._ears: tuple[
            AudioSubscription, ...
        ] = ()  # replaced, not changed: the microphone's thread goes through it
        self._leaving, self._ready = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._heard_s, self._gone = clock_s(), False
        self._stamps = Stamps()  # of one opening
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="microphone", daemon=True)
        self._thread.start()
        if not self._ready.wait(OPEN_S):
            self._leaving.set()
            raise DriverError(
                f"The microphone {name} does not answer: unplug it and plug it in again, or leave --sound out."
            )
        if self._error:
            raise self._error

    def listen(self) -> AudioSubscription:
        """A listener of one's own, from now on until it is closed."""
        ear = AudioSubscription(self)
        with self._lock:
            self._ears = (*self._ears, ear)
        return ear

    def forget(self, ear: AudioSubscription) -> None:
        with self._lock:
            self._ears = tuple(each for each in self._ears if each is not ear)

    def watch(self) -> None:
        """Notices that nothing is heard any more: a driver may hang instead of failing."""
        if self._clock_s() - self._heard_s > SILENT_S:
            self._tell(gone=True)

    def close(self) -> None:
        self._leaving.set()
        self._thread.join(CLOSE_S)

    def _tell(self, gone: bool) -> None:
        with self._lock:
            if gone == self._gone or self._leaving.is_set():
                return
            self._gone = gone
        if gone:
            self._say(
                f"The microphone {self.name} gives no sound any more: the recording goes on in silence; plug it in again."
            )
        else:
            self._say(f"The microphone {self.name} is back.")

    def _work(self) -> None:
        try:
            with (
                quiet_stderr()
            ):  # ALSA tells each of its attempts. Later ones are heard: this silences every thread
                line = self._open(self.name)
        except DriverError as error:
            self._error = error
            return self._ready.set()
        self._ready.set()
        attempt = 0
        while not self._leaving.is_set():
            try:
                if line is None:
                    line, self._stamps = self._open(self.name), Stamps()
                self._hear(line.read())
                attempt = 0
            except (OSError, DriverError):
                line = self._closed(line)
                self._tell(gone=True)
                self._leaving.wait(AGAIN_S[min(attempt, len(AGAIN_S) - 1)])
                attempt += 1
        self._closed(line)

    def _hear(self, samples: np.ndarray) -> None:
        if not len(samples):
            return
        self._heard_s = self._clock_s()
        block = Block(
            np.zeros_like(samples) if self.muted else samples,
            self._stamps.start_s(len(samples), self._heard_s),
        )
        for ear in self._ears:
            ear.put(block)
        self._tell(gone=False)

    @staticmethod
    def _closed(line: AudioDevice | None) -> None:
        if line:
            line.close()


# --- the system's devices, by PyAV -------------------------------------------------------------------------------------


class Device:
    """A AudioDevice by FFmpeg's device inputs."""

    def __init__(self, file: str, kind: str, options: dict[str, str]):
        import av

        self._av, self._container = av, av.open(file, format=kind, options=options)
        self._frames = self._container.decode(self._container.streams.audio[0])
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)

    def read(self) -> np.ndarray:
        heard = []
        while sum(map(len, heard)) < BLOCK:
            try:
                frame = next(self._frames)
            except (StopIteration, self._av.FFmpegError) as error:
                raise OSError("the microphone ended") from error
            frame.pts = None
            heard += [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        return np.concatenate(heard)

    def close(self) -> None:
        self._container.close()


def open_device(name: str) -> AudioDevice:
    """The microphone of that name, or the system's own. Raises DriverError."""
    import av

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
        return Device(file, kind, options)
    except (av.FFmpegError, OSError, IndexError) as error:
        if getattr(error, "errno", None) == errno.EBUSY:
            how = "close it, or take --sound without a name: the system's own microphone can be shared"
            raise DriverError(f"The microphone {name} is in use by another program: {how}.") from error
        why = getattr(error, "strerror", None) or error
        raise DriverError(
            f"The microphone {name} cannot be opened ({why}): {_has(known)}; choose one with --sound NAME."
        ) from error


def microphones() -> list[str]:
    """The names of this system's microphones, where they can be told."""
    if sys.platform in ("darwin", "win32"):
        import av
        from av.device import enumerate_input_devices

        try:
            found = enumerate_input_devices("avfoundation" if sys.platform == "darwin" else "dshow")
        except (av.FFmpegError, ValueError):
            return []
        return [
            each.description or each.name
            for each in found
            if not each.media_types or "audio" in each.media_types
        ]
    return list(_alsa_cards().values())


def _has(known: list[str]) -> str:
    return f"this machine has {', '.join(known)}" if known else "no microphone is connected"


def _unknown(name: str, known: list[str]) -> DriverError:
    return DriverError(
        f"There is no microphone named {name}: {_has(known)}; choose one with --sound NAME, or leave --sound out."
    )


def _named(name: str, known: list[str]) -> str:
    found = next((each for each in known if name.lower() in each.lower()), None)
    if found is None:
        raise _unknown(name, known)
    return found


def _alsa(name: str, known: list[str]) -> str:
    for variable, places in (("ALSA_CONFIG_DIR", ALSA_SETTINGS), ("ALSA_PLUGIN_DIR", ALSA_PLUGINS)):
        if place := next((place for place in places if os.path.isdir(place)), None):
            os.environ.setdefault(variable, place)
    if ":" in name or name in ALSA_NAMES:
        return name
    label = _named(name, known)
    return next(f"plughw:{card}" for card, each in _alsa_cards().items() if each == label)


def _alsa_cards() -> dict[str, str]:
    """Sound cards that can record, by their number."""
    found = {}
    for card in sorted(CARDS.glob("card[0-9]*")):
        if any(card.glob("pcm*c")):
            try:
                label = (card / "id").read_text().strip()
                detail = [
                    line
                    for line in (CARDS / "cards").read_text().splitlines()
                    if f"[{label}" in line.replace(" ", "")
                ]
                found[card.name.removeprefix("card")] = (
                    detail[0].partition(": ")[2].strip() if detail else label
                )
            except OSError:  # it is being unplugged
                continue
    return found


def _avfoundation(name: str, known: list[str]) -> str:
    return ":default" if name == DEFAULT else f":{_named(name, known)}"


def _dshow(name: str, known: list[str]) -> str:
    if not known:
        raise _unknown(name, known)
    return f"audio={known[0] if name == DEFAULT else _named(name, known)}"
