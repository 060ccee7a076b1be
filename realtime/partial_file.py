"""A file while it is written: beside its name, as NAME.part.SUFFIX, so that an older one is replaced by a
whole one only.

What was written is never overwritten before the end: changes of it are kept in memory until everything else
is on the disk. So a fragmented MP4 plays up to its last fragment at every moment: when the program is killed,
or the disk is full.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from engines import atomic_file
from engines.errors import OutputError

MAX_KEPT = 1000  # names tried for a part that is in the way
BOX_SUFFIXES = {".mp4", ".mov"}  # made of boxes that begin with their length: ISO/IEC 14496-12, 4.2
LINE_SUFFIXES = {".csv"}
MAX_LINE = 4096  # bytes


def check_writable(path: str | Path, option: str) -> None:
    """Raises OutputError for a file that could not be written later. Changes nothing.

    Args:
        option: the option that named the file, for the message.
    """
    folder = atomic_file.followed(path).absolute().parent
    if os.path.isdir(path):
        raise OutputError(f"{path} cannot be written, as it is a folder: choose another {option}.")
    if not os.path.isdir(folder):
        raise OutputError(
            f"{path} cannot be written, as there is no folder {Path(path).parent}: choose another {option}."
        )
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise OutputError(f"{path} cannot be written (permission denied): choose another {option}.")


def part_of(path: Path) -> Path:
    """Where a file is while it is written: take.mp4 -> take.part.mp4."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


class PartialFile(io.RawIOBase):
    """The file under `path`, to write and seek in. `finish`, `salvage` or `discard` ends it."""

    def __init__(
        self,
        path: Path,
        notify: Callable[[str], None],
        open_file: Callable[[Path], BinaryIO] | None = None,
        option: str = "--output",
    ):
        """
        Args:
            notify: called with one sentence when the part of a killed program was found and kept under
            another name.
            open_file: creates the file; replaced in tests.
            option: the option that named the file, for messages.

        Raises: OutputError when the file cannot be written, or another program writes it.
        """
        check_writable(path, option)
        self.suffix = path.suffix.lower()
        self.path = atomic_file.followed(path)
        self.part = part_of(self.path)
        self._position = 0
        self._size = 0
        self._changes: list[tuple[int, bytes]] = []  # (offset, data) inside what was written: a few bytes
        self._fault: OSError | None = None  # of the disk; nothing is written after it
        try:
            _make_room(self.part, notify, option)
            self._file = (open_file or _create)(self.part)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written ({error.strerror or error}): choose another {option}."
            ) from error
        # Another program may have created it at the same moment.
        if not (lock(self._file) and _is_at(self._file, self.part)):
            self._file.close()
            raise _written_elsewhere(self.part, option)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def write(self, data) -> int:
        """Raises OSError; every later call raises the same."""
        data = bytes(data)
        if self._fault:
            raise self._fault
        if self._position < self._size:
            self._changes.append((self._position, data))
        else:
            try:
                self._file.seek(self._position)
                _write_all(self._file, data)
            except OSError as error:
                self._fault = error
                raise
        self._position += len(data)
        self._size = max(self._size, self._position)
        return len(data)

    def finish(self) -> None:
        """Writes the changes and gives the file its name. Raises OSError."""
        for offset, data in self._changes:
            self._file.seek(offset)
            _write_all(self._file, data)
        self._commit()

    def salvage(self) -> None:
        """Gives the name to what is on the disk, up to the last whole fragment or line. Raises OSError."""
        if not self._file.closed:
            if self.suffix in BOX_SUFFIXES:
                self._file.truncate(whole_boxes(self._file))
            elif self.suffix in LINE_SUFFIXES:
                self._file.truncate(whole_lines(self._file))
        self._commit()

    def discard(self) -> None:
        """Deletes it; what is at the name stays. Raises OSError."""
        self._file.close()
        self.part.unlink(missing_ok=True)

    def _commit(self) -> None:
        self._file.close()
        atomic_file.commit(self.part, self.path)


def whole_boxes(file: BinaryIO) -> int:
    """The number of bytes of an MP4 that can be played: its whole boxes, each index (moof) with its mdat."""
    end = file.seek(0, os.SEEK_END)
    position = 0
    whole = 0
    while position + 8 <= end:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[8:16])
        if length < 8 or position + length > end:
            break
        position += length
        if head[4:8] != b"moof":
            whole = position
    return whole


def whole_lines(file: BinaryIO) -> int:
    """The number of bytes of a text up to the end of its last whole line."""
    end = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, end - MAX_LINE))
    return start + file.read(MAX_LINE).rfind(b"\n") + 1


def _create(path: Path) -> BinaryIO:
    return open(path, "x+b", buffering=0)


def _write_all(file: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:  # an unbuffered file may take a part; the next write then raises why
        left = left[file.write(left) :]


def _make_room(part: Path, notify: Callable[[str], None], option: str) -> None:
    """Renames a part that a killed program left; one that is being written is refused.

    Raises OutputError, OSError.
    """
    if not part.exists():
        return
    with open(part, "r+b") as file:
        if not lock(file):
            raise _written_elsewhere(part, option)
        empty = file.seek(0, os.SEEK_END) == 0
    if empty:
        part.unlink()
        return
    stem = part.stem.removesuffix(".part")
    names = (part.with_name(f"{stem}.kept-{number}{part.suffix}") for number in range(1, MAX_KEPT))
    free = next((name for name in names if not name.exists()), None)
    if free is None:
        raise OutputError(
            f"{part} is left from an earlier recording: move it away, or choose another {option}."
        )
    part.rename(free)
    notify(f"{part.name} is left from a recording that was cut off: it is kept as {free}.")


def _written_elsewhere(part: Path, option: str) -> OutputError:
    return OutputError(f"{part} is being written by another program: choose another {option}.")


def _is_at(file: BinaryIO, part: Path) -> bool:
    """Whether the open file is the one of that name: another program may have deleted it as an empty part."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(part))
    except FileNotFoundError:
        return False
    except OSError:  # a test's file has no number
        return True


def lock(file: BinaryIO) -> bool:
    """Marks a file as being written, for other programs of this kind. Returns False when one of them has
    marked it.

    Windows locks what is written by itself.
    """
    if os.name == "nt":
        return True
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks; a test's file has no number
        return True
    return True
