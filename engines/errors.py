"""The exceptions of this project, and nothing else.

    PuppetError                something is wrong that the user can mend; str() is one sentence that says how
    ├── SourceError            the photo: missing, unreadable, nobody in it                     exit status 3
    ├── DriverError            the driver: no camera, no clip, nobody ever in view              exit status 4
    │   └── CameraBusy         the camera does not open: another program has it           exit status 4
    ├── CurveError             an AU curve (CSV): names file, line and column                   exit status 5
    ├── EngineError            a bundle or backend: missing, tampered with, of another AU set   exit status 6
    │   └── EngineLost         the device under a running engine failed                         exit status 6
    ├── OutputError            an output: no virtual camera, path not writable                  exit status 7
    │   └── OutputBusy         a virtual camera that another program has                        exit status 7
    ├── SettingsError          a preset, a profile: names file and line                         exit status 2
    └── DataError              training data or a checkpoint                                    exit status 8

A plain PuppetError leaves with 2, as a wrong command line does. Anything else that escapes is a defect of the program.
"""


class PuppetError(Exception):
    """A fault that the user can mend. Its text is one sentence that says what to do next."""

    exit_status = 2


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
    """The device failed while an engine ran on it: a GPU that is gone, or out of memory. Another engine may go on."""


class OutputError(PuppetError):
    """An output (virtual camera, window, file) cannot be opened or written."""

    exit_status = 7


class OutputBusy(OutputError):
    """A virtual camera that is there and does not open: another program plays into it."""


class DataError(PuppetError):
    """Training data or a checkpoint cannot be used."""

    exit_status = 8
