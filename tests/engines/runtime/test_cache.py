"""The cache of compiled engines: found again only when everything is the same, and never when anything is
wrong with it.
"""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
import time

import pytest

from engines.errors import EngineError
from engines.runtime.cache import ABANDONED_S, ABOUT, ENGINE, MAX_ENTRIES, SUMS, Cache, Key

FACTS = {
    "bundle": "ab",
    "backend": "openvino",
    "precision": "int8",
    "library": "openvino 1",
    "device": "CPU 1",
    "driver": "7",
    "shapes": "256",
}
KEY = Key("default-openvino-int8", FACTS)
COMPILED = bytes(range(256)) * 40


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "engines")


@pytest.fixture
def folder(cache):
    assert cache.store(KEY, COMPILED, made_by="a test", figures={"picture mean": 0.1})
    return cache.root / KEY.folder_name


def test_what_is_stored_is_found_again_with_its_description(cache, folder):
    found = cache.find(KEY)
    assert found.compiled == COMPILED and found.folder == folder
    assert (
        found.about["made_by"] == "a test"
        and found.about["figures"] == {"picture mean": 0.1}
        and found.about["key"] == FACTS
    )


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
def test_only_the_user_can_read_or_write_it(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_the_sums_are_those_that_sha256sum_would_write(folder):
    for line in (folder / SUMS).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert {path.name for path in folder.iterdir()} == {ENGINE, ABOUT, SUMS}


@pytest.mark.parametrize("fact", FACTS)
def test_another_bundle_backend_version_device_driver_or_shape_is_another_engine(cache, folder, fact):
    assert cache.find(Key(KEY.name, FACTS | {fact: "other"})) is None
    assert cache.find(Key(KEY.name, {name: value for name, value in FACTS.items() if name != fact})) is None


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def change_description(path):
    """Rewrites about.json, as to have a refused engine trusted; the sums are left."""
    path.write_text(json.dumps(json.loads(path.read_text()) | {"faults": []}))


SPOILS = {
    "a flipped bit": (lambda f: flip(f / ENGINE), f"{ENGINE} does not match"),
    "an engine cut short": (lambda f: (f / ENGINE).write_bytes(COMPILED[:-1]), f"{ENGINE} does not match"),
    "another description": (lambda f: change_description(f / ABOUT), f"{ABOUT} does not match"),
    "no sums": (lambda f: (f / SUMS).unlink(), f"{SUMS} is missing"),
    "no engine": (lambda f: (f / ENGINE).unlink(), f"{ENGINE} is missing"),
    "sums of nothing": (lambda f: (f / SUMS).write_bytes(b"\xff\xfe nonsense"), "does not match"),
    "a file that others write": (lambda f: (f / ENGINE).chmod(0o666), "open to other users"),
    "a folder that others write": (lambda f: f.chmod(0o777), "open to other users"),
    "a link in the engine's place": (
        lambda f: ((f / ENGINE).rename(f / "e"), (f / ENGINE).symlink_to(f / "e")),
        "no plain file",
    ),
}


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoilt_entry_is_never_loaded_is_reported_and_is_replaced(cache, folder, spoil):
    messages = []
    SPOILS[spoil][0](folder)
    assert cache.find(KEY, messages.append) is None
    assert len(messages) == 1 and SPOILS[spoil][1] in messages[0] and "compiled again" in messages[0]
    assert cache.entries(verify=True)[0].fault
    assert cache.store(KEY, b"fresh") and cache.find(KEY).compiled == b"fresh"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no owners")
def test_an_entry_of_another_user_is_never_loaded(cache, folder, monkeypatch):
    messages, me = [], os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    assert cache.find(KEY, messages.append) is None and "belongs to another user" in messages[0]


def test_an_entry_under_another_key_s_name_is_never_loaded(cache, folder):
    other = Key(KEY.name, FACTS | {"device": "CPU 2"})
    folder.rename(folder.with_name(other.folder_name))
    messages = []
    assert cache.find(other, messages.append) is None and "another key" in messages[0]


def test_a_linked_folder_is_never_loaded(cache, folder, tmp_path):
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert cache.find(KEY) is None
    cache.store(KEY, b"fresh")
    assert (
        cache.find(KEY).compiled == b"fresh" and (tmp_path / "elsewhere" / ENGINE).read_bytes() == COMPILED
    ), "what it pointed at is left alone"


@pytest.mark.parametrize(
    "fault", [errno.ENOSPC, errno.EROFS, errno.EACCES], ids=["full", "read-only", "forbidden"]
)
@pytest.mark.parametrize("at", ["mkdtemp", "fsync"])
def test_a_cache_that_cannot_be_written_is_reported_once_and_leaves_nothing(cache, monkeypatch, fault, at):
    def fail(*_arguments, **_options):
        raise OSError(fault, os.strerror(fault))

    messages = []
    monkeypatch.setattr({"mkdtemp": "tempfile.mkdtemp", "fsync": "os.fsync"}[at], fail)
    assert cache.store(KEY, COMPILED, messages.append) is False
    assert len(messages) == 1 and os.strerror(fault) in messages[0] and "PUPPET_CACHE" in messages[0]
    assert cache.find(KEY) is None and not [
        path for path in cache.root.iterdir() if path.name.startswith(".new")
    ]


def test_a_cache_where_a_file_stands_in_the_way_is_reported_once(tmp_path):
    (tmp_path / "engines").write_text("not a folder")
    cache, messages = Cache(tmp_path / "engines"), []
    assert (
        not cache.writable() and cache.store(KEY, COMPILED, messages.append) is False and len(messages) == 1
    )
    assert cache.find(KEY) is None and cache.entries() == []
    with cache.building(KEY):
        pass


def test_a_full_disk_keeps_the_engine_that_was_there(cache, folder, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert cache.store(KEY, b"new") is False
    assert cache.find(KEY).compiled == COMPILED


def test_a_second_process_that_builds_waits_for_the_first_and_finds_its_engine(cache):
    order, inside = [], threading.Event()

    def first():
        with cache.building(KEY):
            inside.set()
            time.sleep(0.2)
            cache.store(KEY, COMPILED)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(5)
    with Cache(cache.root).building(KEY):
        order.append("second")
        assert cache.find(KEY).compiled == COMPILED
    thread.join()
    assert order == ["first", "second"]


def test_waiting_for_another_builder_ends_with_an_error(cache):
    holder = (
        "import sys; from pathlib import Path; from engines.runtime.cache import Cache, Key; import json;"
        "k = Key(sys.argv[2], json.loads(sys.argv[3]));\n"
        "with Cache(Path(sys.argv[1])).building(k): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(cache.root), KEY.name, json.dumps(FACTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        messages = []
        with (
            pytest.raises(EngineError, match="Another program has been compiling default-openvino-int8"),
            cache.building(KEY, messages.append, timeout_s=0.2),
        ):
            pass
        assert messages == ["Another program compiles default-openvino-int8: waiting for it."]
        other.kill()
    with cache.building(KEY, timeout_s=5):  # a builder that was killed holds nothing
        pass


def test_readers_never_see_half_an_engine_while_it_is_replaced(cache, folder):
    stop, seen, messages = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            found = cache.find(KEY, messages.append)
            seen.add(None if found is None else found.compiled[:1])

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(60):
        cache.store(KEY, bytes([number]) * 200_000)
    stop.set()
    thread.join()
    assert seen - {None} <= {bytes([number]) for number in range(60)} | {COMPILED[:1]}
    assert cache.find(KEY).compiled == bytes([59]) * 200_000


def test_it_keeps_so_many_entries_and_those_used_last(cache):
    for number in range(MAX_ENTRIES + 4):
        key = Key("default", FACTS | {"driver": str(number)})
        cache.store(key, COMPILED)
        os.utime(cache.root / key.folder_name, (1e9 + number, 1e9 + number))
    cache.find(Key("default", FACTS | {"driver": "4"}))  # the oldest that is still there, used now
    cache.store(Key("default", FACTS | {"driver": "newest"}), COMPILED)
    left = {entry.about["key"]["driver"] for entry in cache.entries()}
    assert len(left) == MAX_ENTRIES and "4" in left and "5" not in left


def test_what_a_killed_program_left_is_deleted_a_day_later(cache, folder):
    old, young = (cache.root / f".new-{name}-{KEY.folder_name}" for name in ("old", "young"))
    for path, age_s in ((old, ABANDONED_S + 60), (young, 60)):
        path.mkdir()
        os.utime(path, (time.time() - age_s,) * 2)
    cache.store(KEY, COMPILED)
    assert not old.exists() and young.exists()


def test_what_else_lies_in_the_cache_folder_is_never_deleted(tmp_path):
    """PUPPET_CACHE may name a home folder."""
    for number in range(MAX_ENTRIES + 2):
        (tmp_path / f"letters-{number}").mkdir()
    for name in (".ssh", ".new-plans"):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1e9, 1e9))
    before = set(tmp_path.iterdir())
    cache = Cache(tmp_path)
    for number in range(MAX_ENTRIES + 2):
        cache.store(Key("default", {"driver": str(number)}), COMPILED)
    assert before < set(tmp_path.iterdir()) and len(cache.entries()) == MAX_ENTRIES
    assert cache.clear() == MAX_ENTRIES and set(tmp_path.iterdir()) == before


def test_clearing_leaves_an_empty_folder_and_counts_what_went(cache, folder):
    cache.store(Key("other", {"a": "b"}), COMPILED)
    assert cache.clear() == 2 and not list(cache.root.iterdir()) and cache.find(KEY) is None


@pytest.mark.parametrize("name", ["a" * 300, "..-openvino-int8", "", "B/ü x"])
def test_a_bundle_of_any_name_has_an_entry_that_is_listed(cache, name):
    key = Key(name, FACTS)
    assert cache.store(key, COMPILED) and cache.find(key).compiled == COMPILED
    assert [entry.folder.name for entry in cache.entries()] == [key.folder_name]


def test_what_a_killed_program_of_the_same_number_left_is_not_in_the_way(cache, folder):
    left = (
        cache.root / f".old-{os.getpid()}-{KEY.folder_name}"
    )  # in containers, programs have the same few numbers
    left.mkdir()
    (left / ENGINE).write_bytes(b"old")
    assert cache.store(KEY, b"fresh") and cache.find(KEY).compiled == b"fresh"


def test_many_threads_that_store_at_once_do_not_delete_each_other_s_work(cache):
    messages = []

    def store(name: str) -> None:
        for number in range(60):
            cache.store(Key(name, {"driver": str(number % 30)}), b"x", messages.append)

    threads = [threading.Thread(target=store, args=(f"bundle{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not messages, messages[0]


def test_a_description_that_is_no_object_is_not_trusted(cache, folder):
    (folder / ABOUT).write_text("[1]")
    (folder / SUMS).write_text(
        "".join(f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in (ENGINE, ABOUT))
    )
    messages = []
    assert cache.find(KEY, messages.append) is None and "no JSON object" in messages[0]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
def test_the_file_that_is_read_is_the_one_that_was_checked(cache, folder, monkeypatch):
    """Another user exchanges it between the two."""
    (folder / "theirs").write_bytes(b"evil")
    (folder / "theirs").chmod(0o666)
    opening = os.open

    def exchange(path, *arguments, **options):
        if os.path.basename(path) == ENGINE:
            (folder / "theirs").replace(path)
        return opening(path, *arguments, **options)

    monkeypatch.setattr(os, "open", exchange)
    messages = []
    assert cache.find(KEY, messages.append) is None and "open to other users" in messages[0]


def test_engines_are_bytes_on_windows_too(cache, monkeypatch):
    """Its os.open would write two bytes for a line feed."""
    bit, seen, opening = 1 << 40, set(), os.open

    def note(path, flags, *rest, **more):
        seen.add((os.path.basename(path), bool(flags & bit)))
        return opening(path, flags & ~bit, *rest, **more)

    monkeypatch.setattr("engines.atomic_file.BINARY", bit)
    monkeypatch.setattr(os, "open", note)
    cache.store(KEY, COMPILED)
    cache.find(KEY)
    assert {(name, True) for name in (ENGINE, ABOUT, SUMS)} <= seen and not {
        (name, False) for name in (ENGINE, ABOUT, SUMS)
    } & seen


@pytest.mark.skipif(os.name != "posix", reason="Windows has no owners")
def test_a_file_system_that_keeps_no_owners_is_no_place_for_a_cache(cache, monkeypatch):
    assert cache.writable()
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    assert not cache.writable()
