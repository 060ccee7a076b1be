"""What a command comes to: an exit status, and one sentence where something was wrong. Never a traceback."""

import os
import sys
import threading
from collections.abc import Callable

from engines.errors import PuppetError
from realtime.process import log
from realtime.process.shutdown import STOPPED, ShutdownHandler

DEFECT = 1  # exit status


def outcome(work: Callable[[ShutdownHandler], int], program: str = "run.py", verbose: bool = False) -> int:
    """Does the work of a command on the main thread, with Ctrl-C listened to; returns its exit status, or that of what it raised."""
    _open_streams()
    log.start(verbose)
    before, threading.excepthook = threading.excepthook, _tell_of_thread
    with ShutdownHandler() as ending:
        try:
            return work(ending)
        except PuppetError as error:
            print(f"{program}: {error}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt:
            log.say("stopped")
            return STOPPED
        except BrokenPipeError:  # `| head` has read enough
            close_standard_output()
            return 0
        except Exception as error:  # a defect of ours: the user is told so, and how to tell us
            log.LOG.debug("where it happened:", exc_info=True)
            more = "" if verbose else " Run it again with --verbose, and report what it prints."
            print(
                f"{program}: Something went wrong in the program itself ({type(error).__name__}: {error}).{more}",
                file=sys.stderr,
            )
            return DEFECT
        finally:
            threading.excepthook = before


def _tell_of_thread(what: threading.ExceptHookArgs) -> None:
    """A defect in a thread that a call can do without; the loop's own end it."""
    log.LOG.debug("where it happened:", exc_info=(what.exc_type, what.exc_value, what.exc_traceback))
    name = what.thread.name if what.thread else "?"
    log.say(
        f"Something went wrong in the program itself, in its part {name!r} ({what.exc_type.__name__}: {what.exc_value}); the rest goes on."
    )


def _open_streams() -> None:
    """Something to write to where a launcher gave nothing; else the next file that is opened would be what libraries write their errors into."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))


def close_standard_output() -> None:
    """Where nobody reads it any more (`| head`) or it is full: what is written to it from now on is lost, in silence."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
