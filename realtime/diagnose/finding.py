"""What a look at the machine found, and how a look is taken: one that fails or hangs says so and leaves the others alone."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engines.errors import PuppetError

FINE, MISSING, OPTIONAL = "fine", "missing", "optional"
# Native libraries that wheels expect of a bare Linux, and Debian's package of each.
DEBIAN_PACKAGES = {
    "libGL.so": "libgl1",
    "libglib": "libglib2.0-0",
    "libgthread": "libglib2.0-0",
    "libEGL": "libegl1",
    "libGLES": "libgles2",
}


@dataclass(frozen=True)
class Finding:
    """One thing that a call needs or could use."""

    topic: str  # what the verdict goes by: "camera", "engine", ...
    what: str  # for people: "camera webcam:0"
    state: str  # FINE, MISSING, or OPTIONAL: a call goes without
    detail: str  # what was seen
    cure: str = ""  # the command or step of this system that mends it


def looked(topic: str, look: Callable[[], Iterable[Finding]], deadline_s: float) -> list[Finding]:
    """What `look` finds. A fault in it, or no answer within deadline_s, is a finding as well: a look may touch any broken driver."""
    found: list[Finding] = []

    def take() -> None:
        try:
            found.extend(look())
        except ImportError as error:
            found.append(
                Finding(
                    topic,
                    topic,
                    MISSING,
                    f"a library cannot be loaded ({_first_line(error)})",
                    _install(error),
                )
            )
        except PuppetError as error:
            found.append(Finding(topic, topic, MISSING, str(error).rstrip(".")))
        except Exception as error:  # the others are still to be told
            found.append(
                Finding(
                    topic,
                    topic,
                    MISSING,
                    f"could not be looked at ({type(error).__name__}: {_first_line(error)})",
                )
            )

    looking = threading.Thread(target=take, name=f"look at {topic}", daemon=True)
    looking.start()
    looking.join(deadline_s)
    if looking.is_alive():
        cure = "restart the machine if it happens again: a driver hangs"
        return [*found, Finding(topic, topic, MISSING, f"gave no answer within {deadline_s:g} s", cure)]
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")


def _install(error: ImportError) -> str:
    for library, package in DEBIAN_PACKAGES.items():
        if library in str(error):
            return f"sudo apt install {package}"
    return "pip install -e ."
