"""Silences native libraries that print to standard error whatever their log level."""

import os
import tempfile
import threading
from typing import IO, ClassVar


class quiet_stderr:
    """Discards what is written to file descriptor 2 while the block runs, in any number of threads.

    Attributes:
        discarded: after the block, what was written while it ran, by any thread; b"" where there is no place
            for a temporary file.
    """

    _lock = threading.Lock()
    _blocks = 0  # that run now
    _saved = -1  # a duplicate of the real standard error while they do
    _sink: ClassVar[IO[bytes]]  # what stands in its place

    def __init__(self) -> None:
        self.discarded = b""
        self._begin = 0

    def __enter__(self) -> "quiet_stderr":
        with quiet_stderr._lock:
            quiet_stderr._blocks += 1
            if quiet_stderr._blocks == 1:
                quiet_stderr._saved = os.dup(2)
                quiet_stderr._sink = _open_sink()
                os.dup2(quiet_stderr._sink.fileno(), 2)
            self._begin = os.fstat(quiet_stderr._sink.fileno()).st_size
        return self

    def __exit__(self, *_exc: object) -> None:
        with quiet_stderr._lock:
            quiet_stderr._blocks -= 1
            if quiet_stderr._blocks == 0:
                os.dup2(quiet_stderr._saved, 2)
                os.close(quiet_stderr._saved)
            quiet_stderr._sink.seek(self._begin)
            self.discarded = quiet_stderr._sink.read()
            if quiet_stderr._blocks == 0:
                quiet_stderr._sink.close()


def _open_sink() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError:  # a full disk
        return open(os.devnull, "r+b", buffering=0)
