"""A file that is written beside its name: what stands at the name is whole, and an earlier one is not lost until then.

What was written is never written over before the end: changes of it are kept back until everything else has been stored. So a
fragmented MP4 plays up to its last fragment at every moment: the program killed, the disk full. Knows nothing of pictures.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from engines import atomic_file
from engines.errors import OutputError

MOST_KEPT = 1000  # names tried for a file that is in the way
BOXES = {".mp4", ".mov"}  # made of boxes that begin with their length: ISO/IEC 14496-12, 4.2
LINES = {".csv"}
LONGEST_LINE = 4096  # bytes


def check_writable(path: str | Path, option: str) -> None:
    """Raises OutputError now for a file that could not be written later. Leaves what stands there as it is."""
    path = Path(path)
    if os.path.isdir(path) or not os.path.isdir(path.absolute().parent):
        why = "it is a folder" if os.path.isdir(path) else f"there is no folder {path.parent}"
        raise OutputError(f"{path} cannot be written, as {why}: choose another {option}.")
    if not os.access(path if os.path.exists(path) else path.absolute().parent, os.W_OK):
        raise OutputError(f"{path} cannot be written (permission denied): choose another {option}.")


def part_of(path: Path) -> Path:
    """Where a file lies while it is written: take.mp4 -> take.part.mp4."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


class PartialFile(io.RawIOBase):
    """The file under `path`, as something to write and seek in. `finish`, `salvage` or `discard` ends it.

    A part that a killed program left is kept under a free name, and `say` is told so in one sentence.
    """

    def __init__(
        self,
        path: Path,
        say: Callable[[str], None],
        open_file: Callable[[Path], BinaryIO] | None = None,
        option: str = "--output",
    ):
        """open_file: the seam for doubles of a disk; option: where the name came from. Raises OutputError when the file cannot be written."""
        check_writable(path, option)
        self.path, self.part = path, part_of(path)
        self._size = self._at = 0
        self._changes: list[
            tuple[int, bytes]
        ] = []  # of what stands already: a few bytes at the end of a recording
        self._fault: OSError | None = None  # of the disk; nothing is written after it
        try:
            _make_room(self.part, say, option)
            self._file = (open_file or _create)(self.part)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be written ({error.strerror or error}): choose another {option}."
            ) from error
        if not (
            lock(self._file) and _is_at(self._file, self.part)
        ):  # another program began it at this very moment
            self._file.close()
            raise OutputError(f"{self.part} is being written by another program: choose another {option}.")

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def write(self, data) -> int:
        data = bytes(data)
        if self._fault:
            raise self._fault
        if self._at < self._size:
            self._changes.append((self._at, data))
        else:
            try:
                self._file.seek(self._at)
                _write_all(self._file, data)
            except OSError as error:
                self._fault = error
                raise
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def finish(self) -> None:
        """Everything was written: gives the file its name. Raises OSError."""
        for offset, data in self._changes:
            self._file.seek(offset)
            _write_all(self._file, data)
        self._end()

    def salvage(self) -> None:
        """No more can be written: what stands there gets the name, up to the last whole fragment or line. Raises OSError."""
        whole = (
            whole_boxes
            if self.path.suffix.lower() in BOXES
            else whole_lines
            if self.path.suffix.lower() in LINES
            else None
        )
        if whole and not self._file.closed:
            self._file.truncate(whole(self._file))
        self._end()

    def discard(self) -> None:
        """Takes it away again; what stood at the name stays. Raises OSError."""
        self._file.close()
        self.part.unlink(missing_ok=True)

    def _end(self) -> None:
        self._file.close()
        atomic_file.commit(self.part, self.path)


def whole_boxes(file: BinaryIO) -> int:
    """How many bytes of an MP4 can be played: up to the last box that is there wholly, pictures (mdat) behind their index (moof)."""
    end = file.seek(0, os.SEEK_END)
    at = whole = 0
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[8:16])
        if length < 8 or at + length > end:
            break
        at += length
        if head[4:8] != b"moof":
            whole = at
    return whole


def whole_lines(file: BinaryIO) -> int:
    """How many bytes of a text are whole lines."""
    end = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, end - LONGEST_LINE))
    return start + file.read(LONGEST_LINE).rfind(b"\n") + 1


def _create(path: Path) -> BinaryIO:
    return open(path, "x+b", buffering=0)


def _write_all(file: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:  # an unbuffered file may take a part; the rest then raises why
        left = left[file.write(left) :]


def _make_room(part: Path, say: Callable[[str], None], option: str) -> None:
    """A part left by a program that was killed is kept; one that is being written now is left alone. Raises OutputError, OSError."""
    if not part.exists():
        return
    with open(part, "r+b") as file:
        if not lock(file):
            raise OutputError(f"{part} is being written by another program: choose another {option}.")
        empty = file.seek(0, os.SEEK_END) == 0
    if empty:
        part.unlink()
        return
    stem = part.stem.removesuffix(".part")
    names = (part.with_name(f"{stem}.kept-{number}{part.suffix}") for number in range(1, MOST_KEPT))
    free = next((name for name in names if not name.exists()), None)
    if free is None:
        raise OutputError(
            f"{part} is left from an earlier recording: move it away, or choose another {option}."
        )
    part.rename(free)
    say(f"{part.name} is left from a recording that was cut off: it is kept as {free}.")


def _is_at(file: BinaryIO, part: Path) -> bool:
    """Whether the open file is the one of that name: another program may have taken it for a part that was left, and empty."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(part))
    except FileNotFoundError:
        return False
    except OSError:  # doubles have no number
        return True


def lock(file: BinaryIO) -> bool:
    """Marks a file as being written, for other programs of this kind; False when one of them has it. Windows locks by itself."""
    if os.name == "nt":
        return True
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks; doubles have no number
        return True
    return True
