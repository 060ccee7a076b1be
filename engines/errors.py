"""The exceptions of this project, and nothing else.

    PuppetError                something is wrong that the user can fix
    ├── SourceError            the photo: missing, unreadable, without a face                   exit status 3
    ├── DriverError            the driver: no camera, no clip, never a face in view             exit status 4
    │   └── CameraBusy         the camera does not open: another program has it                 exit status 4
    ├── CurveError             an AU curve (CSV): names file, line and column                   exit status 5
    ├── EngineError            a bundle or backend: missing, tampered with, of another AU set   exit status 6
    │   └── EngineLost         the device under a running engine failed                         exit status 6
    ├── OutputError            an output: no virtual camera, path not writable                  exit status 7
    │   └── OutputBusy         a virtual camera that another program has                        exit status 7
    ├── SettingsError          a preset, a profile: names file and line                         exit status 2
    └── DataError              training data or a checkpoint                                    exit status 8

A plain PuppetError exits with 2, as a wrong command line does. Anything else that escapes is a defect of the
program.

Libraries know no command line: what a user can set differently is a `Choice` by the setting's name, and the
command that prints the error names its option for it. EngineError("The GPU is lost", "restart",
Choice("device", "cpu")) is

    error.sentence({"device": "--device"})     The GPU is lost: restart, or choose --device cpu.
    str(error)                                 The GPU is lost: restart, or choose the device cpu.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Choice:
    """A setting that would help if it had another value."""

    setting: str  # "device", "face model", "estimator", "py-feat weights", "cache"
    value: str = ""  # the value that would help; "" for any other than now

    def phrase(self, options: Mapping[str, str]) -> str:
        """What to do, for people. options: by the name of a setting, how the user sets it."""
        option = options.get(self.setting)
        if self.value:
            return f"choose {option or 'the ' + self.setting} {self.value}"
        return f"choose another {option or self.setting}"


NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class PuppetError(Exception):
    """A fault that the user can fix.

    Attributes:
        what: what happened, a clause without its full stop; or a whole sentence, when there are no remedies.
        remedies: what the user can do about it, best first.
        where: the file, line or column it is about, to stand before `what`; "" when `what` says it.
        told: whether the user has read it already, while the program went on.
    """

    exit_status = 2
    told = False

    def __init__(self, what: str, *remedies: str | Choice, where: object = ""):
        super().__init__(what, *remedies)
        self.what = what
        self.remedies = remedies
        self.where = str(where)

    def sentence(self, options: Mapping[str, str] = NO_OPTIONS) -> str:
        """One sentence for people: what happened; what to do.

        Args:
            options: by the name of a setting, the option of this command that sets it.
        """
        place = f"{self.where}: " if self.where else ""
        if not self.remedies:
            return place + self.what
        phrases = [each.phrase(options) if isinstance(each, Choice) else each for each in self.remedies]
        *first, last = phrases
        joined = f"{', '.join(first)}, or {last}" if first else last
        return f"{place}{self.what}: {joined}."

    def __str__(self) -> str:
        return self.sentence()


class SourceError(PuppetError):
    """The source photo cannot be used."""

    exit_status = 3


class DriverError(PuppetError):
    """The driver (camera, clip, picture) cannot be used."""

    exit_status = 4


class CameraBusy(DriverError):
    """A camera that does not open at all; where it is plugged in, another program has it."""


class CurveError(PuppetError):
    """An AU curve is broken; the text names file, line and column."""

    exit_status = 5


class SettingsError(PuppetError):
    """A preset or a profile cannot be used; the text names file and line."""


class EngineError(PuppetError):
    """A bundle or a backend cannot be used."""

    exit_status = 6


class EngineLost(EngineError):
    """The device failed while an engine ran on it: a GPU that is lost or out of memory.

    Another engine may go on.
    """


class OutputError(PuppetError):
    """An output (virtual camera, window, file) cannot be opened or written."""

    exit_status = 7


class OutputBusy(OutputError):
    """A virtual camera that is there and does not open: another program plays into it."""


class DataError(PuppetError):
    """Training data or a checkpoint cannot be used."""

    exit_status = 8
