"""Files and folders that are whole or absent: written beside their name, flushed to the disk, then renamed.

A program that is killed, or a disk that fills up, leaves what stood at the name before. Everything here
raises OSError as the disk does; callers add what the user can do about it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BINARY = getattr(os, "O_BINARY", 0)  # without it Windows writes two bytes for a line feed
PUBLIC = 0o666  # less the umask, as for any new file
PRIVATE = 0o600
TEMPORARY_SUFFIX = ".part"


def temporary_path(path: Path) -> Path:
    """Where a program that locks its files writes one: take.mp4 -> .take.mp4.part.mp4.

    The suffix stays, as libraries choose the format by it.
    """
    return path.with_name(f".{path.name}{TEMPORARY_SUFFIX}{path.suffix}")


def followed(path: str | Path) -> Path:
    """The file that a name means: a link stays, and the file that it names is written."""
    return Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)


@contextmanager
def replacing(path: str | Path, mode: int = PUBLIC) -> Iterator[Path]:
    """Yields an empty file beside `path`, which gets the name when the block ends.

    If the block fails the file is deleted. A link is followed: the file that it names is replaced. What is no
    plain file, such as /dev/stdout, is yielded itself.

    Args:
        path: the file to write, in a folder that exists.
        mode: permissions of the new file, less the umask.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        yield path
        return
    path = followed(path)
    # The process number keeps two programs that write the same file from writing into each other's.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}{path.suffix}")
    try:
        temporary.unlink(missing_ok=True)
        write_new(temporary, b"", mode)
        yield temporary
        commit(temporary, path)
    except BaseException:  # Ctrl-C, too
        with suppress(OSError):
            temporary.unlink()
        raise


def write_bytes(path: str | Path, data: bytes, mode: int = PUBLIC) -> None:
    """Writes a file that is whole or absent."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str, mode: int = PUBLIC) -> None:
    """Writes a file of UTF-8 text that is whole or absent; line feeds stay line feeds on Windows."""
    write_bytes(path, text.encode(), mode)


def commit(temporary: Path, path: Path) -> None:
    """Flushes a file that is closed and whole to the disk, then renames it."""
    flush(temporary)
    os.replace(temporary, path)


def flush(path: Path) -> None:
    """Returns once a closed file is on the disk."""
    number = os.open(path, os.O_RDWR | BINARY)  # Windows flushes only what is open for writing
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_new(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Writes a file that must not exist yet, with these permissions from its first byte, and flushes it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, mode), "wb") as file:
        file.write(data)
        if data:
            file.flush()
            os.fsync(file.fileno())


def replace_folder(new: Path, final: Path, old: Path) -> None:
    """Renames the folder `new` to `final`.

    What is there is moved to `old` first and deleted last: a program killed between the two renames leaves
    the earlier one under `old`.

    Raises:
        OSError: `new` cannot be renamed; ENOTEMPTY or EEXIST when another program has put its own at `final`
            meanwhile.
    """
    if os.path.lexists(final):
        remove(old)
        with suppress(FileNotFoundError):  # another program has moved it meanwhile
            final.rename(old)
    new.rename(final)
    remove(old)


def remove(path: Path) -> None:
    """Deletes a file, a link or a whole folder; what cannot be deleted stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
