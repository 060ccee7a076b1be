"""Settings of the puppet as command-line options."""

import argparse

from engines.errors import SettingsError
from engines.face.action_units import GROUPS
from realtime.puppet.settings import FOLLOWING, STRENGTH, Settings, _groups, _Wrong, load, shipped


def add_options(parser: argparse.ArgumentParser) -> None:
    """--preset, and what goes before it."""
    group = parser.add_argument_group("how the driver moves it")
    group.add_argument(
        "--preset",
        metavar="NAME",
        help=f"a preset: {', '.join(shipped())}, one saved on the page, FILE.toml, FILE.toml:NAME",
    )
    group.add_argument(
        "--strength", metavar="X", help="of the expression, 0 to 2 or 0%% to 200%%; 1 is as the driver is"
    )
    group.add_argument(
        "--head", metavar="X", help="how far the head follows, 0 to 1.5 or 0%% to 150%%; 0 keeps it still"
    )
    group.add_argument(
        "--gaze", metavar="X", help="how far the eyes follow, 0 to 1.5 or 0%% to 150%%; 0 keeps them still"
    )
    group.add_argument(
        "--groups",
        metavar="LIST",
        help=f"what is driven, of {','.join(GROUPS)}; the rest stays as in the photo",
    )
    group.add_argument(
        "--symmetric", action=argparse.BooleanOptionalAction, help="both sides of the face do the same"
    )
    group.add_argument(
        "--idle",
        action=argparse.BooleanOptionalAction,
        help="blinks and small movements while the driver is still or away",
    )
    group.add_argument(
        "--seed", type=int, metavar="N", help="of the idle life: the same number, the same blinks"
    )
    group.add_argument(
        "--au",
        metavar="AU12:gain=1.5",
        action="append",
        default=[],
        help="one AU's gain, offset, dead_zone, limit; or all:...",
    )
    group.add_argument(
        "--print-config", action="store_true", help="print what all of this comes to, as a preset, and leave"
    )


def chosen(options: argparse.Namespace) -> Settings:
    """What the options of `add_options` come to. Raises SettingsError."""
    settings = load(options.preset) if options.preset else Settings()
    if options.seed is not None and options.seed < 0:
        raise SettingsError(f"--seed {options.seed} is below 0: give a whole number, 0 or more.")
    settings = settings.with_flags(
        strength=None if options.strength is None else parse_strength(options.strength),
        head=None if options.head is None else parse_share("--head", options.head, FOLLOWING),
        gaze=None if options.gaze is None else parse_share("--gaze", options.gaze, FOLLOWING),
        groups=parse_groups(options.groups) if options.groups is not None else None,
        symmetric=options.symmetric,
        idle=options.idle,
        seed=options.seed,
    )
    for text in options.au:
        settings = settings.with_au(text)
    return settings


def parse_groups(text: str) -> tuple[str, ...]:
    """ "brows,eyes" -> their names; "none" -> (). Raises SettingsError."""
    try:
        return _groups([] if text == "none" else text.split(","))
    except _Wrong as error:
        raise SettingsError(f"--groups {text}: {error}, as in --groups brows,eyes.") from error


def parse_strength(text: str) -> float:
    """ "1.4" or "140%" -> 1.4. Raises SettingsError."""
    return parse_share("--strength", text, STRENGTH)


def parse_share(option: str, text: str, within: tuple[float, float]) -> float:
    """ "1.4" or "140%" -> 1.4. Raises SettingsError naming the option."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = float("nan")
    if not within[0] <= value <= within[1]:
        raise SettingsError(f"{option} {text} is outside {within[0]:g} to {within[1]:g}: write 1.4, or 140%.")
    return value
