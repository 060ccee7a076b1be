"""Compiled engines in the user's cache folder, found again only when everything they depend on is the same.

    <cache folder>/<bundle>-<backend>-<precision>-<16 digits of the key>/
        engine.bin    what the backend compiled
        about.json    the key in full, who made it and when, and what the parity check said of it
        SHA256SUMS    of both, as `sha256sum --check` reads it

A compiled engine is executable code. So a folder that is not the user's own, that others can write to, or whose files are not
those that its sums pin, is never loaded: it counts as missing and is compiled anew. Entries appear by one rename: there
is never half of one. Nothing else in the cache folder is touched: it may be any folder. Knows no backend, and not what an engine does.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from engines import atomic_file
from engines.backends.interface import Say, quiet
from engines.errors import EngineError

PLACE_ENV = "PUPPET_CACHE"  # another folder than the system's own for caches
ENGINE, ABOUT, SUMS = "engine.bin", "about.json", "SHA256SUMS"
KEPT = 16  # entries: four bundles on two devices in two precisions; older ones go, so that driver updates do not fill the disk
ABANDONED_S = 24 * 3600.0  # after which what a killed program was writing is swept up
LONGEST_BUILD_S = 1800.0  # that one process waits for another that compiles the same
LONGEST_NAME = (
    80  # characters of a name in a folder's name; file systems take 255, and something is put around it
)
ENTRY = re.compile(
    r"[^.].*-[0-9a-f]{16}"
)  # what is this cache's own in its folder, and nothing else is ever deleted
PASSING = re.compile(r"\.((new|old)-.*-[0-9a-f]{16}|.*-[0-9a-f]{16}\.lock)")


@dataclass(frozen=True)
class Key:
    """What a compiled engine is good for: exactly these facts."""

    name: str  # for people, the beginning of the folder's name
    facts: dict[str, str]

    @property
    def folder_name(self) -> str:
        digest = hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        return f"{re.sub('[^A-Za-z0-9._]+', '-', self.name).lstrip('.')[:LONGEST_NAME] or 'engine'}-{digest[:16]}"


@dataclass(frozen=True)
class Cached:
    """An entry whose files are the user's own and as their sums pin them."""

    folder: Path
    compiled: bytes
    about: dict


@dataclass(frozen=True)
class Listed:
    """An entry as `entries` sees it: what it claims to be, and what is wrong with it, "" when nothing is."""

    folder: Path
    about: dict
    bytes: int
    used_s: float  # time.time() of its last use
    fault: str


class Broken(Exception):
    """An entry that must not be loaded; says why."""


def place() -> Path:
    """The cache folder: $PUPPET_CACHE, or the system's own place for caches."""
    return Path(os.environ.get(PLACE_ENV) or platformdirs.user_cache_path("expression-puppet") / "engines")


class Cache:
    """Several processes may use one folder at once."""

    def __init__(self, root: Path | None = None):
        self.root = root or place()

    def find(self, key: Key, say: Say = quiet) -> Cached | None:
        """The entry of a key; None when there is none that may be loaded, after saying why where something lies there."""
        folder = self.root / key.folder_name
        if not os.path.lexists(folder):
            return None
        try:
            found = _read(folder)
            if found.about.get("key") != key.facts:
                raise Broken("it is of another key")
        except Broken as fault:
            say(f"The compiled engine {folder} is not trusted ({fault}): it is compiled anew.")
            return None
        _touch(folder)
        return found

    def store(self, key: Key, compiled: bytes, say: Say = quiet, **about: object) -> bool:
        """Writes an entry, in place of one that was there. A cache that cannot be written is told and costs only time: False."""
        try:
            _private(self.root)
            new = Path(tempfile.mkdtemp(prefix=".new-", suffix=f"-{key.folder_name}", dir=self.root))  # 0700
            try:
                described = json.dumps(
                    {"key": key.facts, "name": key.name, "made_s": time.time(), **about}, indent=1
                ).encode()
                sums = "".join(
                    f"{hashlib.sha256(data).hexdigest()}  {name}\n"
                    for name, data in ((ENGINE, compiled), (ABOUT, described))
                )
                for name, data in ((ENGINE, compiled), (ABOUT, described), (SUMS, sums.encode())):
                    atomic_file.write_new(new / name, data, atomic_file.PRIVATE)
                self._put(new, self.root / key.folder_name)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            self._sweep()
        except OSError as error:
            say(
                f"The compiled engine cannot be kept in {self.root} ({error.strerror}): it runs from memory and is compiled again next time; "
                f"free that place, or name another by {PLACE_ENV}."
            )
            return False
        return True

    def writable(self) -> bool:
        """Whether an entry could be written now, and would then be trusted: not every file system keeps owners and modes."""
        try:
            _private(self.root)
            with tempfile.NamedTemporaryFile(prefix=".new-", suffix=f"-{'0' * 16}", dir=self.root) as probe:
                probe.write(b"engine" * 1024)
                probe.flush()
                _check_mine(Path(probe.name), stat.S_ISREG)
        except (OSError, Broken):
            return False
        return True

    @contextmanager
    def building(self, key: Key, say: Say = quiet, wait_s: float = LONGEST_BUILD_S) -> Iterator[None]:
        """Held while an entry is compiled: a second process waits for the first, and says so, and then finds its entry.

        Raises EngineError after wait_s.
        """
        lock = FileLock(self.root / f".{key.folder_name}.lock")
        try:
            _private(self.root)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                say(f"Another program compiles {key.name}: waiting for it.")
                lock.acquire(timeout=wait_s)
        except Timeout as error:
            raise EngineError(
                f"Another program has been compiling {key.name} for {wait_s / 60:.0f} minutes: end it, or choose --device cpu-fp32."
            ) from error
        except OSError:  # nothing can be locked where nothing can be written, and nothing needs to be
            pass
        try:
            yield
        finally:
            lock.release()

    def entries(self, verify: bool = False) -> list[Listed]:
        """Every entry, newest first; verify: hash them, too."""
        found = []
        for folder in self._own(ENTRY):
            try:
                seen = _read(folder, hashed=verify)
                fault, about = "", seen.about
            except Broken as error:
                fault, about = str(error), {}
            try:
                size = (
                    sum(file.lstat().st_size for file in folder.iterdir())
                    if folder.is_dir() and not folder.is_symlink()
                    else 0
                )
                found.append(Listed(folder, about, size, folder.lstat().st_mtime, fault))
            except OSError:  # another process deletes it just now
                continue
        return sorted(found, key=lambda entry: -entry.used_s)

    def clear(self) -> int:
        """Deletes every entry and what killed programs left; returns how many entries are gone."""
        before = self._own(ENTRY)
        for path in before + self._own(PASSING):
            atomic_file.remove(path)
        return len(before) - len(self._own(ENTRY))

    def _own(self, names: re.Pattern) -> list[Path]:
        """What lies in the cache folder under such names."""
        try:
            return [path for path in self.root.iterdir() if names.fullmatch(path.name)]
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

    def _sweep(self) -> None:
        for entry in self.entries()[KEPT:]:
            atomic_file.remove(entry.folder)
        for path in self._own(PASSING):
            with suppress(FileNotFoundError):  # another process is done with it
                if time.time() - path.lstat().st_mtime > ABANDONED_S:
                    atomic_file.remove(path)


def _read(folder: Path, hashed: bool = True) -> Cached:
    """Raises Broken."""
    _check_mine(folder, stat.S_ISDIR)
    data = {}
    for name in (ENGINE, ABOUT, SUMS):
        _check_mine(folder / name, stat.S_ISREG)
        try:
            data[name] = _bytes_of(folder / name) if hashed or name != ENGINE else b""
        except OSError as error:
            raise Broken(f"{name} cannot be read: {error.strerror}") from error
    pinned = {line[66:]: line[:64] for line in data[SUMS].decode(errors="replace").splitlines()}
    for name in (ENGINE, ABOUT) if hashed else (ABOUT,):
        if hashlib.sha256(data[name]).hexdigest() != pinned.get(name):
            raise Broken(f"{name} is not what {SUMS} pins")
    try:
        about = dict(json.loads(data[ABOUT]))
    except (ValueError, TypeError) as error:
        raise Broken(f"{ABOUT} is no story") from error
    return Cached(folder, data[ENGINE], about)


def _check_mine(path: Path, right_kind) -> None:
    """Raises Broken unless it is the user's own, of the right kind, no link, and nobody else can write to it."""
    try:
        _check_seen(path, path.lstat(), right_kind)
    except OSError as error:
        raise Broken(f"{path.name} is missing") from error


def _check_seen(path: Path, seen: os.stat_result, right_kind) -> None:
    if not right_kind(seen.st_mode):
        raise Broken(f"{path.name} is no plain {'folder' if right_kind is stat.S_ISDIR else 'file'}")
    if hasattr(os, "getuid") and seen.st_uid != os.getuid():
        raise Broken(f"{path.name} belongs to another user")
    if os.name == "posix" and seen.st_mode & 0o077:
        raise Broken(f"{path.name} is open to other users")


def _bytes_of(path: Path) -> bytes:
    """Of the very file that is checked, though somebody exchange it meanwhile. Raises Broken, OSError."""
    with os.fdopen(
        os.open(
            path,
            os.O_RDONLY | atomic_file.BINARY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0),
        ),
        "rb",
    ) as file:
        _check_seen(path, os.fstat(file.fileno()), stat.S_ISREG)
        return file.read()


def _private(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True, mode=0o700)


def _touch(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:  # a cache that can only be read is as good
        pass
