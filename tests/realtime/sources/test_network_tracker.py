"""Trackers over real sockets of this machine: who is believed, silence, garbage, a face that stands still."""

import socket
import sys
import time

import numpy as np
import pytest

from engines.errors import DriverError
from engines.face.arkit import PLACE, SHAPES, ArkitFace
from realtime.messages import NOT_YET
from realtime.sources import network_tracker
from realtime.sources.network_tracker import (
    MAX_DATAGRAM,
    NetworkTracker,
    StillFace,
    is_tracker,
    parse_tracker,
)
from tests.support import phone
from tests.support.phone import Phone


@pytest.fixture
def listening():
    """(tracker, its port, what it said)."""
    port, said = phone.free_port(), []
    tracker = NetworkTracker(f"ifacialmocap:{port}", said.append)
    said.clear()
    yield tracker, port, said
    tracker.close()


def smile(value: float) -> bytes:
    return phone.ifacialmocap(mouthSmileLeft=value)


def next_face(tracker: NetworkTracker, reads: int = 40):
    """What the next datagram holds; None when none is believed."""
    for _ in range(reads):
        tracked = tracker.read()
        if tracked is not NOT_YET:
            return tracked
    return None


def smiles(tracked) -> float:
    return round(float(tracked.face.shapes[PLACE["mouthSmileLeft"]]), 2)


@pytest.mark.parametrize(
    "text, written",
    [
        ("ifacialmocap", "127.0.0.1:49983"),
        ("livelink:12000", "127.0.0.1:12000"),
        ("vmc:0.0.0.0:39540", "0.0.0.0:39540"),
        ("vmc:localhost:1", "127.0.0.1:1"),
        ("livelink:[::1]:11111", "[::1]:11111"),
    ],
)
def test_a_tracker_listens_to_this_machine_alone_unless_an_address_is_named(text, written):
    address = parse_tracker(text)
    assert is_tracker(text) and str(address) == written
    assert address.is_loopback == (not written.startswith("0"))


@pytest.mark.parametrize("text", ["vmc:0", "vmc:70000", "livelink:phone:11111", "vmc:0.0.0.0", "vmc:a:b:c"])
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(DriverError, match="PORT"):
        parse_tracker(text)


def test_clips_and_cameras_are_no_trackers():
    assert not any(map(is_tracker, ("webcam", "clip.mp4", "vmc.csv", "livelink.mp4", "ifacialmocap2:1")))


def test_a_port_that_another_program_has_is_refused():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(DriverError, match=f"127.0.0.1:{port}"):
            NetworkTracker(f"vmc:{port}")


@pytest.mark.parametrize("protocol", ["ifacialmocap", "livelink", "vmc"])
def test_a_face_of_every_protocol_arrives(protocol):
    port = phone.free_port()
    tracker = NetworkTracker(f"{protocol}:{port}")
    shapes = {"mouthSmileLeft": 0.5}
    packets = {
        "ifacialmocap": [phone.ifacialmocap(**shapes)],
        "livelink": [phone.live_link(**shapes)],
        "vmc": phone.vmc(**shapes),
    }
    with Phone(port) as sender:
        assert tracker.note == "no tracker yet"
        sender.send(*packets[protocol])
        assert smiles(next_face(tracker)) == 0.5
        assert tracker.note == ""
    tracker.close()
    assert tracker.read() is None


def test_of_several_that_wait_the_newest_is_returned(listening):
    tracker, port, _ = listening
    with Phone(port) as sender:
        sender.send(*(smile(value) for value in (0.1, 0.2, 0.3)))
        time.sleep(0.05)
        assert smiles(next_face(tracker)) == 0.3
        assert tracker.read() is NOT_YET


def test_only_the_first_sender_is_believed_and_a_second_is_reported_once(listening):
    tracker, port, said = listening
    with Phone(port) as first, Phone(port) as second:
        first.send(smile(0.1))
        assert smiles(next_face(tracker)) == 0.1
        for value in (0.9, 0.8):
            second.send(smile(value))
            assert next_face(tracker, 4) is None
        first.send(smile(0.2))
        assert smiles(next_face(tracker)) == 0.2
    assert len([sentence for sentence in said if "only the first sender" in sentence]) == 1


def test_an_app_that_is_started_again_is_believed_once_the_old_one_was_silent(listening, monkeypatch):
    monkeypatch.setattr(network_tracker, "SILENT_S", 0.2)
    tracker, port, said = listening
    with Phone(port) as first:
        first.send(smile(0.1))
        next_face(tracker)
    assert next_face(tracker, 8) is None
    assert tracker.note == "tracker silent" and "fallen silent" in said[-1]
    with Phone(port) as again:
        again.send(smile(0.7))
        assert smiles(next_face(tracker)) == 0.7
    assert tracker.note == "" and "is back" in said[-1]
    assert len([sentence for sentence in said if "fallen silent" in sentence]) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
def test_another_machine_is_never_believed_after_the_first(listening, monkeypatch):
    monkeypatch.setattr(network_tracker, "SILENT_S", 0.1)
    tracker, port, _ = listening
    with Phone(port) as first, Phone(port, "127.0.0.2") as other:
        first.send(smile(0.1))
        next_face(tracker)
        time.sleep(0.2)
        other.send(smile(0.9))
        assert next_face(tracker, 4) is None


def test_garbage_is_reported_once_and_never_becomes_the_sender(listening):
    tracker, port, said = listening
    with Phone(port) as stranger, Phone(port) as sender:
        stranger.send(b"", b"\xff" * 100, b"x" * MAX_DATAGRAM, phone.live_link(), b"GET / HTTP/1.1\r\n\r\n")
        assert next_face(tracker, 6) is None
        assert tracker.note == "no tracker yet"
        sender.send(smile(0.4))
        assert smiles(next_face(tracker)) == 0.4
    assert len([sentence for sentence in said if "is not iFacialMocap" in sentence]) == 1


def test_a_flood_does_not_keep_a_read_from_returning(listening):
    tracker, port, _ = listening
    with Phone(port) as sender:
        sender.send(*[b"flood"] * 500)
        started_s = time.perf_counter()
        tracker.read()
        assert time.perf_counter() - started_s < 1


def test_a_phone_that_sees_no_face_is_no_expression():
    port = phone.free_port()
    tracker = NetworkTracker(f"livelink:{port}")
    with Phone(port) as sender:
        sender.send(phone.live_link_without_face())
        tracked = next_face(tracker)
    tracker.close()
    assert tracked.face is None and tracked.note == "face lost"


def test_a_face_in_which_nothing_changes_stands_still_until_it_moves():
    still, face = StillFace(), ArkitFace(np.zeros(len(SHAPES), np.float32), np.zeros(3, np.float32))
    moved = ArkitFace(face.shapes, np.array([0.01, 0, 0], np.float32))
    assert [still.update(face, time_s) for time_s in (10.0, 11.0, 11.6)] == [False, False, True]
    assert not still.update(moved, 12.0) and not still.frozen
