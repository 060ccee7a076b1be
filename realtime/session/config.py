"""What a run is asked to do: made by the commands of their options, read by everything below them."""

from dataclasses import dataclass, field
from pathlib import Path

from realtime.puppet.settings import Settings


@dataclass(frozen=True, kw_only=True)
class DrawingConfig:
    """What draws, and how it looks."""

    engine: str = "default"  # a bundle: a name in engines/, or a folder
    device: str = "auto"  # as engines.runtime.load names them
    face_model: Path | None = None  # reads faces; None: the default one
    size: tuple[int, int] | None = None  # (width, height); None: 1280x720 live, the photo's own for files
    fps: float | None = None  # pictures a second; None: 30, for files the driver's own
    fit: str = "auto"  # how the photo fills the picture: canvas.FITS
    face: str = "largest"  # of several in the photo: as puppet.face_choice reads it
    badge: bool = True  # whether every picture carries the mark that it is animated
    consent: str | None = (
        None  # whose the photos are, as session.consent.ANSWERS; None: asked where not known
    )
    sheet: str | None = None  # where a contact sheet goes
    clip_sound: bool = True  # whether files have the sound of the clip that drives
    seconds: float | None = None  # after which it ends
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True, kw_only=True)
class SessionConfig(DrawingConfig):
    """One run: a photo, its driver, and where the pictures go."""

    source: str  # a photo, or a folder of photos; "": those of a page
    drivers: tuple[str, ...]  # as performance.driver_spec reads them; at least one, but for a page
    outputs: tuple[str, ...] = ()  # as output.outputs reads them; none: what the machine has
    record: str | None = None  # where the AU curve goes
    sound: str | None = None  # a microphone whose sound goes into live files
    profile: str | None = None  # the driver's own range: a name or a file
    aus: str = "auto"  # the estimator of the driver's AUs: estimator_fusion
    pyfeat_weights: str | None = None


@dataclass(frozen=True, kw_only=True)
class BatchConfig(DrawingConfig):
    """Many videos: every take by every photo."""

    names: tuple[str, ...]  # takes, photos and the place for the videos, in this order
    over: tuple[str, ...] = ()  # curves over every take, as performance.driver_spec reads them
    progress: bool = False  # whether how far it is is printed, for programs
