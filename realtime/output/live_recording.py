"""A live run into a file: pictures at the times they had, the driver's sound in step with them. Never in the way of who sends.

The encoder has a thread of its own, and between them there is room for a few pictures only: where the encoder or the disk is slow,
pictures are left out of the recording and counted, and the others keep their times. When the disk is full the recording ends, and
what was recorded stays.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engines.errors import OutputError
from realtime.audio.av_sync import DriftCompensator
from realtime.audio.microphone import Microphone
from realtime.output.muxer import FragmentedMuxer
from realtime.partial_file import part_of

MOST_WAITING = 6  # pictures: what an encoder misses while it writes a fragment, 0.2 s; 17 MB at 720p
LONGEST_S = 6 * 3600.0  # FFmpeg keeps the index of a whole MP4 in memory: 21 MB an hour with sound
CLOSE_S = 1.5  # to encode what waits and to write the index; a disk that takes longer hangs
PUMP_S = 0.1  # how often sound is fetched while no picture comes


class LiveRecording:
    """An Output that records live. `send` keeps the picture for a moment: it must not be changed afterwards."""

    main_thread, closed = False, False

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: float,
        sound: Microphone | None = None,
        delay_s: Callable[[], float] = lambda: 0.0,
        say: Callable[[str], None] = lambda _sentence: None,
        open_file: Callable[[Path], BinaryIO] | None = None,
        clock_s: Callable[[], float] = time.perf_counter,
    ):
        """
        fps: nominal. sound: recorded too. delay_s: how long ago the driver was as the picture that is sent now shows him; the
        sound is delayed by it. say: is told of a part that an earlier recording left. Raises OutputError.
        """
        self.name, self._path = str(path), Path(path)
        self._reel = FragmentedMuxer(self._path, size, fps, sound is not None, say, open_file)
        self._ear = sound.listen() if sound else None
        self._step, self._delay_s, self._clock_s, self._frame_s = (
            DriftCompensator(),
            delay_s,
            clock_s,
            1 / fps,
        )
        self._condition = threading.Condition()
        self._waiting: deque[tuple[np.ndarray, float]] = deque(maxlen=MOST_WAITING)
        self._first_s: float | None = None  # the first picture's time: the file's 0 ...
        self._zero_s = float("inf")  # ... and when that was by the clock
        self._sent_s = self._last_s = (
            0.0  # times in the file: of the newest picture that was sent, and recorded
        )
        self._ending = False
        self._fault: Exception | None = None
        self._told = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="recording", daemon=True)
        self._thread.start()

    @property
    def frames(self) -> int:
        """Pictures recorded."""
        return self._reel.frames

    @property
    def written(self) -> str:
        """What was recorded, for people."""
        left_out = f", {self.dropped} left out, as the machine was too slow" if self.dropped else ""
        return f"{self.name}: {self.frames} pictures, {self._last_s:.1f} s{left_out}"

    def send(self, image: np.ndarray, time_s: float) -> None:
        """Never waits. Raises OutputError once, when the recording has ended, by a fault or by its length; a defect as it is."""
        self._raise_once()
        with self._condition:
            if self._fault or self._ending:
                return
            if self._first_s is None:
                self._first_s = time_s
            if time_s - self._first_s > LONGEST_S:
                self._ending = True
                self._condition.notify_all()
                raise OutputError(
                    f"The recording {self.name} is complete after {LONGEST_S / 3600:g} hours: begin another recording."
                )
            self._zero_s = min(
                self._zero_s, self._clock_s() - (time_s - self._first_s)
            )  # who sends may be late, but never early
            self.dropped += len(self._waiting) == MOST_WAITING
            self._sent_s = time_s - self._first_s
            self._waiting.append((image, self._sent_s))
            self._condition.notify_all()

    def close(self) -> None:
        """Finishes the file; returns within CLOSE_S whatever the disk does. Raises OutputError where that was not told yet."""
        with self._condition:
            self._ending = True
            self._condition.notify_all()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            part = part_of(self._path)
            raise OutputError(
                f"{self.name} is not finished, as the disk does not answer: what it took is in {part}, which plays."
            )
        self._raise_once()

    def _raise_once(self) -> None:
        if self._fault and not self._told:
            self._told = True
            raise self._fault

    # --- the encoder's thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while self._record_next():
                pass
            self._record_sound(self._last_s + self._frame_s)
            self._reel.finish()
        except self._reel.faults as error:
            self._fault = self._salvaged(error)
        except (
            Exception
        ) as error:  # a defect: raised where pictures come from, or it would end a recording in silence
            self._salvaged(error)
            self._fault = error
        finally:
            self._waiting.clear()
            if self._ear:
                self._ear.close()

    def _record_next(self) -> bool:
        """One picture and the sound that came; False when all is recorded and it is to end."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._ending, PUMP_S)
            picture = self._waiting.popleft() if self._waiting else None
            ending = self._ending
        if picture:
            self._reel.add_picture(*picture)
            self._last_s = picture[1]
        if not ending:
            self._record_sound(None)
        return picture is not None or not ending

    def _record_sound(self, end_s: float | None) -> None:
        """The sound that came; end_s: up to this time in the file, and no longer."""
        if not self._ear or not np.isfinite(self._zero_s):
            return
        if end_s is None and self._reel.sound_samples > self._step.samples_at(self._sent_s + PUMP_S):
            return  # no pictures come: it may be the end, and the sound would outlast them
        delay_s = self._delay_s()
        for block in self._ear.take():
            self._keep(self._step.add(block.samples, block.start_s - self._zero_s + delay_s), end_s)
        if end_s is not None:
            self._keep(self._step.silence_until(end_s), end_s)
        else:
            self._keep(
                self._step.silence_until(
                    self._clock_s() - self._zero_s + delay_s - self._step.LONGEST_WAIT_S
                ),
                None,
            )

    def _keep(self, samples: np.ndarray, end_s: float | None) -> None:
        if end_s is not None:
            samples = samples[: max(0, self._step.samples_at(end_s) - self._reel.sound_samples)]
        if len(samples):
            self._reel.add_sound(samples)

    def _salvaged(self, error: Exception) -> OutputError:
        reason = getattr(error, "strerror", None) or error
        ended = f"The recording {self.name} ended early ({reason})"
        try:
            self._reel.salvage()
        except OSError as other:
            return OutputError(
                f"{ended} and what was recorded could not be given its name ({other}): look for {part_of(self._path)}."
            )
        return OutputError(
            f"{ended}: it holds nearly all of its {self._last_s:.1f} s; free some space before the next one."
        )
