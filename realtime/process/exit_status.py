"""The result of a command: an exit status, and one sentence where something was wrong. Never a traceback."""

import os
import sys
import threading
from collections.abc import Callable, Mapping

from engines.errors import NO_OPTIONS, PuppetError
from realtime.process import log
from realtime.process.program import CLONE
from realtime.process.shutdown import STOPPED, ShutdownHandler

DEFECT = 1  # exit status


def outcome(
    work: Callable[[ShutdownHandler], int],
    command: str = CLONE,
    verbose: bool = False,
    options: Mapping[str, str] = NO_OPTIONS,
) -> int:
    """Runs a command on the main thread, with Ctrl-C handled.

    Args:
        work: the command; returns an exit status.
        command: as it was typed, for messages.
        verbose: whether the log has details.
        options: of the command, by the settings that errors mention: see PuppetError.sentence.

    Returns: the exit status of `work`, or of what it raised.
    """
    _open_streams()
    log.start(verbose)
    earlier_hook = threading.excepthook
    threading.excepthook = _report_thread
    with ShutdownHandler() as shutdown:
        try:
            return work(shutdown)
        except PuppetError as error:
            if not error.told:
                print(f"{command}: {error.sentence(options)}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt:
            log.say("stopped")
            return STOPPED
        except BrokenPipeError:  # `| head` has read enough
            close_standard_output()
            return 0
        except Exception as error:  # a defect of the program: how to report it
            log.LOG.debug("where it happened:", exc_info=True)
            what = f"Something went wrong in the program itself ({type(error).__name__}: {error})."
            more = "" if verbose else " Run it again with --verbose, and report what it prints."
            print(f"{command}: {what}{more}", file=sys.stderr)
            return DEFECT
        finally:
            threading.excepthook = earlier_hook


def close_after(error: BaseException | None, close: Callable[[], None]) -> None:
    """Closes something at the end of a block, so that each of two faults is told once.

    Args:
        error: that the block ends with, and that the user will be told.
        close: may raise PuppetError, which is raised where nothing else is, and told at once otherwise.
    """
    try:
        close()
    except PuppetError as fault:
        if error is None:
            raise
        if not fault.told:
            log.warn(str(fault))


def _report_thread(args: threading.ExceptHookArgs) -> None:
    """A defect in a thread that a call can do without; one of the loop's own threads ends it."""
    log.LOG.debug("where it happened:", exc_info=args.exc_value)
    part = f" in its part {args.thread.name!r}" if args.thread else ""
    what = f"{args.exc_type.__name__}: {args.exc_value}"
    log.warn(f"Something went wrong in the program itself,{part} ({what}); the rest goes on.")


def _open_streams() -> None:
    """Opens standard output and error where a launcher gave none.

    Else the next file that is opened would get their numbers, and what libraries write to them.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))


def close_standard_output() -> None:
    """Drops what is written from now on: its reader has gone (`| head`), or its disk is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
