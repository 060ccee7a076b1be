"""What a check of the machine found, and how checks run: one that fails or hangs does not end the others."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engines.errors import PuppetError
from realtime.process.worker import Worker

FINE, MISSING, OPTIONAL = "fine", "missing", "optional"
# Native libraries that wheels expect and a bare Linux lacks, and Debian's package of each.
DEBIAN_PACKAGES = {
    "libGL.so": "libgl1",
    "libglib": "libglib2.0-0",
    "libgthread": "libglib2.0-0",
    "libEGL": "libegl1",
    "libGLES": "libgles2",
}
REINSTALL = "pip install -e ."


@dataclass(frozen=True)
class Finding:
    """One thing that a call needs or could use."""

    topic: str  # what the verdict is made of: "camera", "engine", ...
    what: str  # for the user: "camera webcam:0"
    state: str  # FINE, MISSING, or OPTIONAL: a call works without
    detail: str  # what was found
    cure: str = ""  # the command or step that mends it on this system


def run_check(topic: str, check: Callable[[], Iterable[Finding]], timeout_s: float) -> list[Finding]:
    """What a check finds.

    An exception in it, or no answer within timeout_s, is a finding too: it may touch a broken driver.
    """
    found: list[Finding] = []

    def report(error: BaseException) -> None:
        found.append(_failed(topic, error))

    worker = Worker(lambda: found.extend(check()), f"check {topic}", report)
    worker.start()
    if worker.join(timeout_s):
        return found
    cure = "restart the machine if it happens again: a driver hangs"
    return [*found, Finding(topic, topic, MISSING, f"gave no answer within {timeout_s:g} s", cure)]


def _failed(topic: str, error: BaseException) -> Finding:
    if isinstance(error, ImportError):
        detail = f"a library cannot be loaded ({_first_line(error)})"
        return Finding(topic, topic, MISSING, detail, _install(error))
    if isinstance(error, PuppetError):
        return Finding(topic, topic, MISSING, str(error).rstrip("."))
    detail = f"could not be checked ({type(error).__name__}: {_first_line(error)})"
    return Finding(topic, topic, MISSING, detail)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _install(error: ImportError) -> str:
    """The command that installs what could not be imported.

    The loader's message is all that names a native library.
    """
    message = str(error)
    package = next((package for library, package in DEBIAN_PACKAGES.items() if library in message), None)
    return f"sudo apt install {package}" if package else REINSTALL
