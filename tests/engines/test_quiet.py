"""What is written to standard error while it is shut: nobody sees it, and the block knows it."""

import os
import threading

import pytest

from engines.quiet import quiet_stderr


def test_what_is_written_meanwhile_is_discarded_and_known(capfd):
    os.write(2, b"before\n")
    with quiet_stderr() as outer:
        os.write(2, b"first\n")
        with quiet_stderr() as inner:
            os.write(2, b"second\n")
        os.write(2, b"third\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"
    assert inner.discarded == b"second\n" and outer.discarded == b"first\nsecond\nthird\n"


def test_without_a_place_for_a_file_it_is_discarded_all_the_same(capfd, monkeypatch):
    def refuse(**_options):
        raise OSError("No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with quiet_stderr() as quiet:
        os.write(2, b"unseen\n")
    assert capfd.readouterr().err == "" and quiet.discarded == b""


def test_blocks_of_many_threads_leave_standard_error_open(capfd):
    def work():
        for _ in range(200):
            with quiet_stderr():
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"


def test_an_error_in_a_block_opens_it_again(capfd):
    with pytest.raises(ValueError), quiet_stderr():
        raise ValueError
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
