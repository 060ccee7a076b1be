"""The table of what comes out of every file of a folder."""

import shutil

import pytest
from PIL import Image

from tests import cases
from tests.conftest import SAMPLES
from tests.support.clip_files import numbered


def test_every_file_of_a_folder_is_a_row_with_what_came_out(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._man.jpg").write_bytes(b"of the system's")
    with Image.open(SAMPLES / "man.jpg") as image:
        image.resize((256, 256)).save(tmp_path / "face", "PNG")
    moves = [Image.fromarray(numbered(number)) for number in range(3)]
    moves[0].save(tmp_path / "moves.gif", save_all=True, append_images=moves[1:], duration=100)
    shutil.copy(SAMPLES / "smile.csv", tmp_path / "a|b.csv")
    assert cases.main([str(tmp_path)]) == 0
    header, _, *rows = [line.strip("|").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert {len(row) for row in rows} == {len(header)}
    found = {(row[0].strip(), row[1]): row for row in rows}
    assert list(found) == [
        ("a/b.csv", "driver"),
        ("face", "photo"),
        ("face", "driver"),
        ("moves.gif", "driver"),
        ("moves.gif", "photo"),
        ("notes.txt", "driver"),
    ]
    assert found["face", "photo"][4:7] == ["0", "15", "0.50"] and found["face", "driver"][4:6] == ["0", "90"]
    assert [found["moves.gif", role][4] for role in ("driver", "photo")] == ["4", "3"]
    assert found["notes.txt", "driver"][4:6] == ["4", ""] and "notes.txt" in found["notes.txt", "driver"][-1]


def test_an_empty_folder_is_a_wrong_command_line(tmp_path):
    with pytest.raises(SystemExit):
        cases.main([str(tmp_path)])
