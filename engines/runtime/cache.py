"""Compiled engines in the user's cache folder, found again only when everything they depend on is the same.

    <cache folder>/<bundle>-<backend>-<precision>-<16 digits of the key>/
        engine.bin    what the backend compiled
        about.json    the key in full, what compiled it and when, and what the parity check found
        SHA256SUMS    of both, as `sha256sum --check` reads it

A compiled engine is executable code. So a folder that is not the user's own, that others can write to, or
whose files do not match their sums, is never loaded: it counts as missing and is compiled again. Entries
appear by one rename: there is never half of one. Nothing else in the cache folder is touched: it may be any
folder. Knows no backend, and not what an engine does.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from engines import atomic_file, environment
from engines.backends.interface import Notify, ignore
from engines.errors import Choice, EngineError

ENGINE = "engine.bin"
ABOUT = "about.json"
SUMS = "SHA256SUMS"
# Four bundles on two devices in two precisions; older ones are deleted, so that driver updates do not fill
# the disk.
MAX_ENTRIES = 16
ABANDONED_S = 24 * 3600.0  # after which what a killed program was writing is deleted
MAX_BUILD_S = 1800.0  # that one process waits for another that compiles the same
MAX_NAME_CHARACTERS = 80  # of a key's name in a folder's name; file systems take 255, and prefixes are added
# What is this cache's own in its folder; nothing else is ever deleted.
ENTRY_NAME = re.compile(r"[^.].*-[0-9a-f]{16}")
TEMPORARY_NAME = re.compile(r"\.((new|old)-.*-[0-9a-f]{16}|.*-[0-9a-f]{16}\.lock)")
OTHERS = 0o077  # permissions of everyone but the owner


@dataclass(frozen=True)
class Key:
    """What a compiled engine is valid for: exactly these facts."""

    name: str  # for people, the beginning of the folder's name
    facts: dict[str, str]

    @property
    def folder_name(self) -> str:
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        name = re.sub("[^A-Za-z0-9._]+", "-", self.name).lstrip(".")[:MAX_NAME_CHARACTERS]
        return f"{name or 'engine'}-{digest[:16]}"


@dataclass(frozen=True)
class CachedEngine:
    """An entry that may be loaded: its files are the user's own and match their sums."""

    folder: Path
    compiled: bytes
    about: dict


@dataclass(frozen=True)
class CacheEntry:
    """An entry in a listing: what it claims to be, and what is wrong with it."""

    folder: Path
    about: dict
    bytes: int
    used_s: float  # time.time() of its last use
    fault: str  # "" when nothing is wrong


class UntrustedEntry(Exception):
    """An entry that must not be loaded; the text is why."""


class Cache:
    """The engine cache in one folder, which several processes may use at once."""

    def __init__(self, root: Path | None = None):
        """root: the folder; None for the user's own."""
        self.root = root or environment.engine_cache()

    def find(self, key: Key, notify: Notify = ignore) -> CachedEngine | None:
        """The entry of a key; None when there is none that may be loaded. Reports why one is not trusted."""
        folder = self.root / key.folder_name
        if not os.path.lexists(folder):
            return None
        try:
            found = _read(folder)
            if found.about.get("key") != key.facts:
                raise UntrustedEntry("it is of another key")
        except UntrustedEntry as fault:
            notify(f"The compiled engine {folder} is not trusted ({fault}): it is compiled again.")
            return None
        with suppress(OSError):  # a cache that can only be read serves as well
            os.utime(folder)
        return found

    def store(self, key: Key, compiled: bytes, notify: Notify = ignore, **about: object) -> bool:
        """Writes an entry, in place of an earlier one.

        Args:
            about: more for about.json.

        Returns:
            False where the cache cannot be written, which is reported, and costs only time.
        """
        try:
            _make_private(self.root)
            new = Path(tempfile.mkdtemp(prefix=".new-", suffix=f"-{key.folder_name}", dir=self.root))  # 0700
            try:
                _write(new, key, compiled, about)
                self._put(new, self.root / key.folder_name)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            self._delete_old()
        except OSError as error:
            notify(
                f"The compiled engine cannot be kept in {self.root} ({error.strerror}): it runs from memory "
                "and is compiled again next time; free some space there, or name another folder by "
                f"{environment.ENGINE_CACHE}."
            )
            return False
        return True

    def writable(self) -> bool:
        """Whether an entry could be written now, and would be trusted.

        Not every file system keeps owners and modes.
        """
        try:
            _make_private(self.root)
            with tempfile.NamedTemporaryFile(prefix=".new-", suffix=f"-{'0' * 16}", dir=self.root) as probe:
                probe.write(b"engine" * 1024)
                probe.flush()
                _check_own(probe.name, os.fstat(probe.fileno()), stat.S_ISREG)
        except (OSError, UntrustedEntry):
            return False
        return True

    @contextmanager
    def building(self, key: Key, notify: Notify = ignore, timeout_s: float = MAX_BUILD_S) -> Iterator[None]:
        """Held while an entry is compiled.

        A second process waits for the first, reports that, and finds its entry.

        Raises:
            EngineError: the other process has not ended after timeout_s.
        """
        lock = FileLock(self.root / f".{key.folder_name}.lock")
        try:
            _make_private(self.root)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                notify(f"Another program compiles {key.name}: waiting for it.")
                lock.acquire(timeout=timeout_s)
        except Timeout as error:
            raise EngineError(
                f"Another program has been compiling {key.name} for {timeout_s / 60:.0f} minutes",
                "end it",
                Choice("device", "cpu-fp32"),
            ) from error
        except OSError:  # nothing can be locked where nothing can be written, and nothing needs to be
            pass
        try:
            yield
        finally:
            lock.release()

    def entries(self, verify: bool = False) -> list[CacheEntry]:
        """Every entry, the last used first. verify: hash the compiled engines, too."""
        found = []
        for folder in self._named(ENTRY_NAME):
            about: dict = {}
            fault = ""
            try:
                about = _read(folder, hashed=verify).about
            except UntrustedEntry as error:
                fault = str(error)
            with suppress(OSError):  # another process deletes it at this moment
                status = folder.lstat()
                files = folder.iterdir() if stat.S_ISDIR(status.st_mode) else ()
                size = sum(file.lstat().st_size for file in files)
                found.append(CacheEntry(folder, about, size, status.st_mtime, fault))
        return sorted(found, key=lambda entry: -entry.used_s)

    def clear(self) -> int:
        """Deletes every entry and what killed programs left; returns how many entries are gone."""
        before = self._named(ENTRY_NAME)
        for path in before + self._named(TEMPORARY_NAME):
            atomic_file.remove(path)
        return len(before) - len(self._named(ENTRY_NAME))

    def _named(self, pattern: re.Pattern) -> list[Path]:
        """What lies in the cache folder under such names."""
        try:
            return [path for path in self.root.iterdir() if pattern.fullmatch(path.name)]
        except OSError:  # no folder, or one that cannot be read
            return []

    def _put(self, new: Path, final: Path) -> None:
        """Puts an entry in place of an earlier one."""
        old = new.with_name(new.name.replace(".new-", ".old-", 1))
        try:
            atomic_file.replace_folder(new, final, old)
        except OSError as error:
            atomic_file.remove(old)
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise  # else another process has just put its own there, which is as good

    def _delete_old(self) -> None:
        for entry in self.entries()[MAX_ENTRIES:]:
            atomic_file.remove(entry.folder)
        for path in self._named(TEMPORARY_NAME):
            with suppress(FileNotFoundError):  # another process has finished with it
                if time.time() - path.lstat().st_mtime > ABANDONED_S:
                    atomic_file.remove(path)


def _write(folder: Path, key: Key, compiled: bytes, about: dict) -> None:
    """Writes an entry's files into an empty folder. Raises OSError."""
    description = {"key": key.facts, "name": key.name, "made_s": time.time(), **about}
    files = {ENGINE: compiled, ABOUT: json.dumps(description, indent=1).encode()}
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    for name, data in (files | {SUMS: sums.encode()}).items():
        atomic_file.write_new(folder / name, data, atomic_file.PRIVATE)


def _read(folder: Path, hashed: bool = True) -> CachedEngine:
    """An entry, after all checks. hashed: False leaves the compiled engine unread. Raises UntrustedEntry."""
    try:
        _check_own(folder.name, folder.lstat(), stat.S_ISDIR)
    except OSError as error:
        raise UntrustedEntry(f"{folder.name} is missing") from error
    compiled = _read_own(folder / ENGINE, content=hashed)
    about = _read_own(folder / ABOUT)
    listing = _read_own(folder / SUMS).decode(errors="replace")
    sums = {line[66:]: line[:64] for line in listing.splitlines()}
    for name, data in ((ENGINE, compiled), (ABOUT, about)):
        if (hashed or name != ENGINE) and hashlib.sha256(data).hexdigest() != sums.get(name):
            raise UntrustedEntry(f"{name} does not match {SUMS}")
    try:
        return CachedEngine(folder, compiled, dict(json.loads(about)))
    except (ValueError, TypeError) as error:
        raise UntrustedEntry(f"{ABOUT} is no JSON object") from error


def _read_own(path: Path, content: bool = True) -> bytes:
    """The bytes of the very file that is checked, b"" without content. Raises UntrustedEntry."""
    flags = os.O_RDONLY | atomic_file.BINARY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if path.is_symlink():
            raise UntrustedEntry(f"{path.name} is no plain file")
        with os.fdopen(os.open(path, flags), "rb") as file:
            _check_own(path.name, os.fstat(file.fileno()), stat.S_ISREG)
            return file.read() if content else b""
    except FileNotFoundError as error:
        raise UntrustedEntry(f"{path.name} is missing") from error
    except OSError as error:
        raise UntrustedEntry(f"{path.name} cannot be read: {error.strerror}") from error


def _check_own(name: str, status: os.stat_result, is_kind: Callable[[int], bool]) -> None:
    """Raises UntrustedEntry unless it is of its kind, the user's own, and closed to everyone else."""
    if not is_kind(status.st_mode):
        raise UntrustedEntry(f"{name} is no plain {'folder' if is_kind is stat.S_ISDIR else 'file'}")
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        raise UntrustedEntry(f"{name} belongs to another user")
    if os.name == "posix" and status.st_mode & OTHERS:
        raise UntrustedEntry(f"{name} is open to other users")


def _make_private(root: Path) -> None:
    """Makes the cache folder where there is none, for the user alone."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
