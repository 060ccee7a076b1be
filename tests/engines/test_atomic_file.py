"""The atomic file writer: what stands at a name is whole, whatever happens while it is written."""

import os
import stat

import pytest

from engines import atomic_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def earlier(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("earlier")
    return path


def test_a_new_and_an_earlier_file_are_written_and_nothing_is_left_beside_them(tmp_path, earlier):
    atomic_file.write_text(earlier, "é\n")
    atomic_file.write_bytes(tmp_path / "new", b"data")
    assert earlier.read_bytes() == "é\n".encode() and (tmp_path / "new").read_bytes() == b"data"
    assert names(tmp_path) == ["figures.json", "new"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_earlier_file_survives_a_full_disk_and_ctrl_c(tmp_path, earlier, fault):
    with pytest.raises(type(fault)), atomic_file.replacing(earlier) as temporary:
        temporary.write_text("half of the n")
        raise fault
    assert earlier.read_text() == "earlier" and names(tmp_path) == ["figures.json"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_file_that_cannot_be_flushed_or_renamed_is_not_taken_for_written(
    tmp_path, earlier, monkeypatch, fails
):
    def fail(*_arguments):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, fails, fail)
    with pytest.raises(OSError, match="Input/output error"):
        atomic_file.write_bytes(earlier, b"new")
    assert earlier.read_text() == "earlier" and names(tmp_path) == ["figures.json"]


def test_a_file_is_flushed_before_it_gets_its_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (events.append("flushed"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("renamed"), replace(*paths)))
    atomic_file.write_bytes(tmp_path / "new", b"data")
    assert events == ["flushed", "renamed"]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
def test_a_private_file_is_private_while_it_is_written_and_when_it_replaces_a_public_one(earlier):
    earlier.chmod(0o644)
    with atomic_file.replacing(earlier, atomic_file.PRIVATE) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
        temporary.write_text("secret")
    assert stat.S_IMODE(earlier.stat().st_mode) == 0o600


def test_a_temporary_file_keeps_the_suffix_by_which_libraries_choose_a_format(tmp_path):
    with atomic_file.replacing(tmp_path / "take.mp4") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".mp4" and temporary.name.startswith(".")
    assert atomic_file.temporary_path(tmp_path / "take.mp4") == tmp_path / ".take.mp4.part.mp4"


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_a_link_stays_and_the_file_that_it_names_is_replaced(tmp_path, earlier):
    link = tmp_path / "link"
    link.symlink_to(earlier)
    atomic_file.write_text(link, "new")
    assert link.is_symlink() and earlier.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="needs links and /dev/null")
def test_what_a_killed_program_left_is_replaced_and_a_link_in_its_place_is_not_followed(tmp_path, earlier):
    left = tmp_path / f".new.{os.getpid()}.part"
    left.symlink_to(earlier)
    atomic_file.write_text(tmp_path / "new", "new")
    assert earlier.read_text() == "earlier" and (tmp_path / "new").read_text() == "new"
    assert names(tmp_path) == ["figures.json", "new"]


@pytest.mark.skipif(os.name != "posix", reason="needs pipes with names")
def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic_file.write_text(pipe, "figures")
        assert os.read(reader, 100) == b"figures" and stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)


def test_a_folder_that_is_missing_and_a_folder_in_the_way_are_the_disks_own_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        atomic_file.write_text(tmp_path / "missing" / "new", "new")
    with pytest.raises((IsADirectoryError, PermissionError)):
        atomic_file.write_text(tmp_path, "new")


def folder(path, text):
    path.mkdir()
    (path / "state").write_text(text)
    return path


def test_a_folder_replaces_an_earlier_one(tmp_path):
    final = folder(tmp_path / "final", "earlier")
    atomic_file.replace_folder(folder(tmp_path / "new", "new"), final, tmp_path / "old")
    assert (final / "state").read_text() == "new" and names(tmp_path) == ["final"]


def test_a_program_killed_between_two_renames_leaves_the_earlier_folder_under_its_second_name(
    tmp_path, monkeypatch
):
    final = folder(tmp_path / "final", "earlier")
    new = folder(tmp_path / "new", "new")
    monkeypatch.setattr(type(new), "rename", lambda path, to: os.rename(path, to) if path == final else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        atomic_file.replace_folder(new, final, tmp_path / "old")
    assert (tmp_path / "old" / "state").read_text() == "earlier"


def test_the_earlier_folder_under_its_second_name_survives_until_a_new_one_is_in_place(tmp_path, monkeypatch):
    """A run was killed between the renames: `old` is all there is."""
    old = folder(tmp_path / "old", "earlier")
    new = folder(tmp_path / "new", "new")
    rename = type(new).rename

    def looked_at(path, to):
        assert (old / "state").read_text() == "earlier"
        rename(path, to)

    monkeypatch.setattr(type(new), "rename", looked_at)
    atomic_file.replace_folder(new, tmp_path / "final", old)
    assert names(tmp_path) == ["final"]
