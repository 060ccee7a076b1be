"""How training scales: the model of hosts on paper, and processes that are really run."""

import shutil
from pathlib import Path

import pytest

from train.scaling import HOSTS, main, step_ms

SAMPLES = Path(__file__).parents[2] / "realtime" / "samples"


def test_one_host_waits_for_the_slower_of_training_and_drawing_and_for_no_network():
    assert step_ms(1, 300.0, 10.0, 28.0, 1.0) == 300.0
    assert step_ms(1, 300.0, 500.0, 28.0, 1.0) == 500.0


def test_a_ring_sends_twice_the_gradients_whatever_the_number_of_hosts():
    """28 MB through 10 Gbit/s take 22.4 ms; twice that is the limit of many hosts."""
    added = [step_ms(hosts, 300.0, 10.0, 28.0, 10.0, delay_ms=0.0) - 300.0 for hosts in (2, 16, 1000)]
    assert added == pytest.approx([22.4, 42.0, 44.8], rel=0.01)
    slower = step_ms(16, 300.0, 10.0, 28.0, 10.0, delay_ms=1.0) - 300.0
    assert slower == pytest.approx(42.0 + 30.0), "a message in each of 30 turns"


def test_the_table_has_every_number_of_hosts_and_one_alone_is_the_measure(capsys):
    given = "hosts --step-ms 315 --batch 16 --gradient-mb 28 --loader-ms 1.25 --cores 2"
    assert main(given.split()) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert sorted({int(row[0]) for row in rows}) == list(HOSTS)
    assert rows[0][-1] == "100%" and rows[0][2] == "315"
    assert all(int(row[-1].rstrip("%")) < 100 for row in rows[1:])


@pytest.mark.slow
def test_processes_are_run_and_their_rates_are_set_against_the_first(corpus_folder, capsys):
    given = ["processes", "--corpus", str(corpus_folder), "--processes", "1", "2", "--images", "40"]
    options = ["--", "--batch", "4", "--size", "64", "--fp32", "--workers", "0", "--critic"]
    assert main([*given, *options]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [["fit", "1"], ["fit", "2"]]
    assert rows[0][3] == "1.00" and float(rows[1][2]) > 0


@pytest.mark.slow
def test_prepare_is_run_on_a_folder_and_a_folder_of_one_photo_is_refused(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("man.jpg", "woman.jpg", "mature.jpg"):
        shutil.copy(SAMPLES / name, photos)
    assert main(["processes", "--photos", str(photos), "--processes", "1"]) == 0
    name, count, a_second, ratio = capsys.readouterr().out.splitlines()[1].split()
    assert (name, count, ratio) == ("prepare", "1", "1.00") and float(a_second) > 0
    for name in ("man.jpg", "woman.jpg"):
        (photos / name).unlink()
    assert main(["processes", "--photos", str(photos), "--processes", "1"]) == 1
    assert "some hundred photos" in capsys.readouterr().err


def test_a_run_that_fails_is_said_in_a_sentence(tmp_path, capsys):
    assert main(["processes", "--corpus", str(tmp_path / "nowhere"), "--processes", "1"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fit by 1 processes did not run") and "Traceback" not in error
