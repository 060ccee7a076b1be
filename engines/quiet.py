"""Silences native libraries that print to standard error whatever their log level."""

import os
import threading


class quiet_stderr:
    """Discards what is written to file descriptor 2 while the block runs, in any number of threads."""

    _lock = threading.Lock()
    _blocks = 0  # that run now
    _saved = -1  # a duplicate of the real standard error while they do

    def __enter__(self) -> None:
        with quiet_stderr._lock:
            quiet_stderr._blocks += 1
            if quiet_stderr._blocks > 1:
                return
            quiet_stderr._saved = os.dup(2)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 2)
            os.close(null)

    def __exit__(self, *_exc: object) -> None:
        with quiet_stderr._lock:
            quiet_stderr._blocks -= 1
            if quiet_stderr._blocks == 0:
                os.dup2(quiet_stderr._saved, 2)
                os.close(quiet_stderr._saved)
