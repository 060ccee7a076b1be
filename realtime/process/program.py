"""The command by which this program was started, for messages that name another one."""

CLONE = "run.py"
SCRIPT = "puppet"  # the console script of an installed package

_name = CLONE


def start_as(name: str) -> None:
    """Before anything else: name is CLONE or SCRIPT."""
    global _name
    _name = name


def name() -> str:
    """CLONE or SCRIPT."""
    return _name


def typed(command: str) -> str:
    """A command as it is typed here: "doctor" -> "run.py doctor" or "puppet doctor"."""
    return f"{_name} {command}"


def in_shell(command: str) -> str:
    """The same with Python, to be copied: "python run.py doctor" or "puppet doctor"."""
    return as_typed(f"python {CLONE} {command}")


def as_typed(text: str) -> str:
    """Commands in a text that is written for `python run.py`, as they are typed here."""
    return text if _name == CLONE else text.replace(f"python {CLONE}", _name).replace(CLONE, _name)
