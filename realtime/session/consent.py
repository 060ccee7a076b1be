"""Who is in a photo that is animated: asked once for each photo, and kept with the date.

    consent.json in the settings folder    SHA-256 of a photo's file -> answer, date, the file's name

Nothing leaves the machine. Photos that ship need no answer. Where nobody can be asked the run goes on, and
every picture of it carries the badge.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from engines import atomic_file
from engines.environment import settings_folder
from engines.errors import SettingsError, SourceError
from engines.face.picture_file import is_picture
from engines.sentences import some_of
from realtime.process.log import say, warn
from realtime.process.question import ask, can_ask
from realtime.session.fingerprints import fingerprint, fingerprints

SAMPLES = Path(__file__).parents[1] / "samples"
ANSWERS = {  # as --consent takes them
    "mine": "I am",
    "agreed": "somebody who agreed to this",
    "nobody": "nobody: it was drawn or generated",
}
NONE_OF_THEM = "no"
MAX_NAMED = 3  # photos of a folder


class Consent(msgspec.Struct, frozen=True):
    """What was answered for one photo."""

    answer: str  # one of ANSWERS
    date: str  # of the answer, YYYY-MM-DD
    name: str  # of the file then, for people


Ask = Callable[[str, Mapping[str, str]], str | None]


def settle(
    paths: Sequence[Path],
    answer: str | None,
    question: Ask | None = None,
    notify: Callable[[str], None] = say,
) -> bool:
    """Whether it is known of every photo who is in it; asks, and keeps what is answered.

    Args:
        paths: of the photos that may be animated; what is no picture is refused elsewhere.
        answer: of --consent; None: what was answered before, else the question.
        question: asks somebody; None: whoever sits at the terminal.
        notify: called with a sentence where nobody could be asked.

    Raises: SourceError where the answer is that nobody agreed, SettingsError where the answers that are kept
        cannot be read.
    """
    new = _unanswered(paths, answer)
    if not new:
        return True
    named = _named(list(new.values()))
    if answer is None:
        answer = _asked(named, question)
    if answer is None:
        notify(
            f"It was not said who is in {named}, so every picture is marked as animated: "
            "say it with --consent mine, agreed or nobody."
        )
        return False
    today = datetime.date.today().isoformat()
    keep(load() | {key: Consent(answer, today, _text(path.name)) for key, path in new.items()})
    return True


def unanswered(paths: Sequence[Path]) -> list[Path]:
    """Photos of which it is not known who is in them. Raises SettingsError."""
    return list(_unanswered(paths, None).values())


def _unanswered(paths: Sequence[Path], answer: str | None) -> dict[str, Path]:
    """Photos without an answer, or with another one than is given now, by their fingerprints."""
    photos = fingerprints(paths)
    known = load()
    new = {
        key: path
        for key, path in photos.items()
        if key not in known or answer not in (None, known[key].answer)
    }
    if new:  # the samples are hashed only then
        shipped = {fingerprint(path) for path in SAMPLES.iterdir() if is_picture(path)}
        new = {key: path for key, path in new.items() if key not in shipped}
    return new


def consent_file() -> Path:
    """Where the answers are kept."""
    return settings_folder() / "consent.json"


def load() -> dict[str, Consent]:
    """The answers that are kept, by the photos' SHA-256. Raises SettingsError."""
    try:
        return msgspec.json.decode(consent_file().read_bytes(), type=dict[str, Consent])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(
            f"The answers about photos cannot be read ({getattr(error, 'strerror', None) or error})",
            "delete the file, and you are asked again",
            where=consent_file(),
        ) from error


def keep(consents: Mapping[str, Consent]) -> None:
    """Writes the answers, readable by their owner alone; one that cannot be written is asked for again."""
    path = consent_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = msgspec.json.format(msgspec.json.encode(consents), indent=1)
        atomic_file.write_bytes(path, text + b"\n", atomic_file.PRIVATE)
    except OSError as error:
        warn(f"{path} cannot be written ({error.strerror}): you are asked again next time.")


def _asked(named: str, question: Ask | None) -> str | None:
    """The answer of whoever is there; None where nobody is, or they do not say. Raises SourceError."""
    if question is None and not can_ask():
        return None
    answers = dict(zip("123", ANSWERS.values(), strict=True)) | {NONE_OF_THEM: "somebody else"}
    typed = (question or ask)(f"Who is in {named}? This is asked once.", answers)
    if typed == NONE_OF_THEM:
        raise SourceError(
            f"Nobody agreed to be animated from {named}", "use a photo of yourself or of somebody who agreed"
        )
    return None if typed is None else list(ANSWERS)[int(typed) - 1]


def _text(name: str) -> str:
    """A file's name, where it is no text as far as it is one."""
    return name.encode(errors="backslashreplace").decode()


def _named(paths: Sequence[Path]) -> str:
    """Photos by their names, a few of many."""
    if len(paths) == 1:
        return f"the photo {paths[0].name}"
    return f"the photos {some_of([path.name for path in paths], MAX_NAMED)}"
