"""A live run into a file: pictures at their own times, the driver's sound synchronised with them, and the
sender never waits.

The encoder has a background thread, with a short queue before it: where the encoder or the disk is slow,
pictures are left out of the recording and counted, and the others keep their times. When the disk is full the
recording ends, and what was recorded stays.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engines import atomic_file
from engines.errors import OutputError
from realtime.audio.av_sync import DriftCompensator
from realtime.audio.microphone import Microphone
from realtime.output.muxer import DISK_ERRORS, FragmentedMuxer
from realtime.partial_file import part_of
from realtime.process.worker import Worker

QUEUE_LENGTH = 6  # pictures: what an encoder misses while it writes a fragment, 0.2 s; 17 MB at 720p
MAX_DURATION_S = 6 * 3600.0  # FFmpeg keeps the index of a whole MP4 in memory: 21 MB an hour with sound
CLOSE_S = 1.5  # to encode the queue and to write the index; a disk that takes longer hangs
PUMP_S = 0.1  # how often sound is taken while no picture comes


class LiveRecording:
    """An Output that records live."""

    main_thread = False
    closed = False

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: float,
        sound: Microphone | None = None,
        delay_s: Callable[[], float] = lambda: 0.0,
        notify: Callable[[str], None] = lambda _sentence: None,
        open_file: Callable[[Path], BinaryIO] | None = None,
        clock_s: Callable[[], float] = time.perf_counter,
    ):
        """
        Args:
            size: (width, height) in pixels.
            fps: nominal.
            sound: recorded as well.
            delay_s: seconds between the driver's movement and the picture that is sent now; the sound is
            delayed by it. notify, open_file: as PartialFile's.

        Raises: OutputError when the file cannot be recorded.
        """
        self.name = str(path)
        self._path = atomic_file.followed(path)
        self._muxer = FragmentedMuxer(Path(path), size, fps, sound is not None, notify, open_file)
        self._sound = sound.subscribe() if sound else None
        self._sync = DriftCompensator()
        self._delay_s = delay_s
        self._clock_s = clock_s
        self._frame_s = 1 / fps
        self._condition = threading.Condition()
        self._queue: deque[tuple[np.ndarray, float]] = deque(maxlen=QUEUE_LENGTH)
        self._first_s: float | None = None  # the first picture's time as it was sent: 0 in the file ...
        self._zero_s = float("inf")  # ... and by the clock
        self._sent_s = 0.0  # the file's time of the newest picture that was sent
        self._recorded_s = 0.0  # ... and that was recorded
        self._ending = False
        self._fault: Exception | None = None
        self._fault_raised = False
        self.dropped = 0
        self._worker = Worker(self._record, "recording")
        self._worker.start()

    @property
    def frames(self) -> int:
        """Pictures recorded."""
        return self._muxer.frames

    @property
    def whole(self) -> bool:
        """Whether there is a file, closed, with all that was recorded."""
        return self.frames > 0 and not (self._fault or self._worker.alive)

    @property
    def written(self) -> str:
        """What was recorded, for the user."""
        left_out = f", {self.dropped} left out, as the machine was too slow" if self.dropped else ""
        return f"{self.name}: {self.frames} pictures, {self._recorded_s:.1f} s{left_out}"

    def send(self, image: np.ndarray, time_s: float) -> None:
        """As Output's; never waits.

        Raises: OutputError once, when the recording has ended by a failure or by its length; once, what the
        thread raised.
        """
        self._raise_once()
        with self._condition:
            if self._fault or self._ending:
                return
            if self._first_s is None:
                self._first_s = time_s
            if time_s - self._first_s > MAX_DURATION_S:
                self._ending = True
                self._condition.notify_all()
                raise OutputError(
                    f"The recording {self.name} is complete after {MAX_DURATION_S / 3600:g} hours: "
                    "begin another recording."
                )
            # A picture may be sent late, but never early.
            self._zero_s = min(self._zero_s, self._clock_s() - (time_s - self._first_s))
            self.dropped += len(self._queue) == QUEUE_LENGTH
            self._sent_s = time_s - self._first_s
            self._queue.append((image, self._sent_s))
            self._condition.notify_all()

    def close(self) -> None:
        """Finishes the file; returns within CLOSE_S whatever the disk does.

        Raises OutputError where `send` did not.
        """
        with self._condition:
            self._ending = True
            self._condition.notify_all()
        if not self._worker.join(CLOSE_S):
            raise OutputError(
                f"{self.name} is not finished, as the disk does not answer: "
                f"what it took is in {part_of(self._path)}, which plays."
            )
        self._raise_once()

    def _raise_once(self) -> None:
        if self._fault and not self._fault_raised:
            self._fault_raised = True
            raise self._fault

    # --- the encoder's thread
    # ------------------------------------------------------------------------------------------

    def _record(self) -> None:
        try:
            while self._record_next():
                pass
            self._record_sound(self._recorded_s + self._frame_s)
            self._muxer.finish()
        except DISK_ERRORS as error:
            self._fault = self._salvage(error)
        except (
            Exception
        ) as error:  # a defect: raised where pictures are sent, or it would end a recording in silence
            self._salvage(error)
            self._fault = error
        finally:
            self._queue.clear()
            if self._sound:
                self._sound.close()

    def _record_next(self) -> bool:
        """Records one picture and the sound that came; returns False once all is recorded and it has to
        end."""
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._ending, PUMP_S)
            queued = self._queue.popleft() if self._queue else None
            ending = self._ending
        if queued:
            image, time_s = queued
            self._muxer.add_picture(image, time_s)
            self._recorded_s = time_s
        if not ending:
            self._record_sound(None)
        return queued is not None or not ending

    def _record_sound(self, end_s: float | None) -> None:
        """Records the sound that came; with end_s, up to this time in the file and no further."""
        if not self._sound or not np.isfinite(self._zero_s):
            return
        if end_s is None and self._muxer.sound_samples > self._sync.samples_at(self._sent_s + PUMP_S):
            return  # no pictures come: this may be the end, and the sound would outlast them
        delay_s = self._delay_s()
        for block in self._sound.take():
            samples = self._sync.add(block.samples, block.start_s - self._zero_s + delay_s)
            self._add_sound(samples, end_s)
        if end_s is not None:
            self._add_sound(self._sync.silence_until(end_s), end_s)
        else:
            due_s = self._clock_s() - self._zero_s + delay_s - self._sync.LATE_S
            self._add_sound(self._sync.silence_until(due_s), None)

    def _add_sound(self, samples: np.ndarray, end_s: float | None) -> None:
        if end_s is not None:
            samples = samples[: max(0, self._sync.samples_at(end_s) - self._muxer.sound_samples)]
        if len(samples):
            self._muxer.add_sound(samples)

    def _salvage(self, error: Exception) -> OutputError:
        reason = getattr(error, "strerror", None) or error
        ended = f"The recording {self.name} ended early ({reason})"
        try:
            self._muxer.salvage()
        except OSError as other:
            return OutputError(
                f"{ended} and what was recorded could not be given its name ({other}): "
                f"look for {part_of(self._path)}."
            )
        return OutputError(
            f"{ended}: it holds nearly all of its {self._recorded_s:.1f} s; "
            "free some space before the next one."
        )
