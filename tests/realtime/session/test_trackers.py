"""Phones as drivers, from their packets to the picture: over real sockets, live."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from engines.face.action_units import EXPRESSION, HEAD_FULL_DEG, WIDE, opposites
from realtime.commands import animate
from realtime.output.signatures import make_certificate, read_signature
from realtime.output.vmc_sender import VmcSender
from realtime.performance.load import load_curve
from realtime.puppet.animator import Animator
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.session.expression_source import TrackerExpressions
from realtime.session.live_loop import LiveLoop
from realtime.session.output_fanout import OutputFanout
from realtime.sources.network_tracker import NetworkTracker
from realtime.timing import Timings
from realtime.tracking import neutral
from realtime.tracking.reading_tracker import ReadingTracker
from tests.conftest import SAMPLES
from tests.support import phone
from tests.support.fakes import KeepingOutput, StubEngine, speak
from tests.support.phone import Phone

ROOT = Path(__file__).parents[3]
SIZE = (160, 120)
SMILE, JAW = EXPRESSION.index("AU12L"), EXPRESSION.index("AU26")


@pytest.fixture
def played(photo, monkeypatch):
    """(phone, loop, output, what a program with an avatar is sent), running; the neutral takes a tenth."""
    monkeypatch.setattr(neutral, "LEARN_S", 0.1)
    port = phone.free_port()
    tracker = NetworkTracker(f"livelink:{port}")
    puppet, timings, output = Puppet(photo, StubEngine(aus=WIDE), SIZE), Timings(), KeepingOutput()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as avatar:
        avatar.bind(("127.0.0.1", 0))
        vmc = VmcSender(f"vmc:127.0.0.1:{avatar.getsockname()[1]}")
        animator = Animator(
            puppet, Retarget(puppet.bundle, speak(EXPRESSION)), timings, followers=[vmc.follow]
        )
        source = TrackerExpressions(tracker, ReadingTracker(), timings)
        loop = LiveLoop(source, animator, OutputFanout([output, vmc]), timings, fps=30)
        with Phone(port) as sender, loop.running():
            yield sender, loop, output, avatar
    vmc.close()
    tracker.close()


def send_for(sender: Phone, seconds: float, **shapes: float) -> None:
    """A face that hardly moves, 50 times a second."""
    for number in range(round(50 * seconds)):
        sender.send(phone.live_link((0.01 * (number % 5), 0, 0), **shapes))
        time.sleep(0.02)


def green(image: np.ndarray, still: np.ndarray) -> float:
    """How far the stub has painted a smile."""
    return float(np.abs(image.astype(int) - still).mean())


def test_a_phone_drives_the_puppet_and_silence_brings_the_still_photo_back(played):
    sender, loop, output, avatar = played
    still = loop.animator.still
    assert loop.notes == ["no tracker yet"]
    send_for(sender, 0.4)
    assert not green(output.images[-1], still)
    send_for(sender, 0.4, mouthSmileLeft=0.9, mouthSmileRight=0.9)
    assert green(output.images[-1], still) > 1 and loop.notes == []
    assert avatar.recv(4096).startswith(b"#bundle"), "it is passed on"
    held = len(output.images)
    time.sleep(0.2)
    assert green(output.images[-1], still) > 1 and len(output.images) > held, "held"
    time.sleep(2.0)
    assert np.array_equal(output.images[-1], still) and loop.notes == ["tracker silent"]


def test_a_face_that_the_phone_loses_is_noted(played):
    sender, loop, _, _ = played
    send_for(sender, 0.3)
    sender.send(phone.live_link_without_face())
    time.sleep(0.2)
    assert loop.notes == ["face lost"] and loop.animator.asked.max() == 0


def test_the_neutral_of_a_tracker_is_learnt_and_learnt_again():
    track = ReadingTracker()
    rest = speak(EXPRESSION, AU12=0.05, AU53=0.5)
    for number in range(60):
        expression = track(rest, number / 30)
        assert np.abs(expression.expression).max() < 0.01
    more = speak(EXPRESSION, AU12=0.6, AU53=0.8)
    for number in range(60, 90):
        expression = track(more, number / 30)
    assert expression.expression[SMILE] > 0.4
    assert opposites(expression.expression)[1] == pytest.approx(0.3, abs=0.02)
    track.recalibrate()
    for number in range(90, 150):
        expression = track(more, number / 30)
    assert np.abs(opposites(expression.expression)).max() < 0.01, (
        "where the head points now is straight ahead"
    )


@pytest.mark.slow
def test_a_phones_session_replayed_over_the_network_becomes_a_video(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PUPPET_SETTINGS", str(tmp_path / "settings"))
    make_certificate("Ada")
    port, out, take = phone.free_port(), tmp_path / "phone.mp4", tmp_path / "phone.csv"
    with subprocess.Popen([sys.executable, "-m", "tests.support.phone", str(port)], cwd=ROOT) as sender:
        status = animate.main(
            [
                *("--source", str(SAMPLES / "woman.jpg"), "--driver", f"ifacialmocap:{port}"),
                *("--output", str(out), "--record", str(take), "--size", "320x240", "--seconds", "20"),
            ]
        )
        sender.terminate()
    said = capsys.readouterr().err
    assert status == 0, said
    assert f"Waiting for iFacialMocap at 127.0.0.1:{port}" in said and "sends from 127.0.0.1" in said
    signature = read_signature(out)
    assert signature is not None and signature.state == "Valid", "a live recording is signed at the end"
    with av.open(str(out)) as video:
        frames = list(video.decode(video=0))
    assert frames[-1].time > 19
    images = [frame.to_ndarray(format="bgr24") for frame in frames]
    moved = [float(np.abs(image.astype(int) - images[0]).mean()) for image in images]
    assert max(moved) > 3, "the face moves"
    curve = load_curve(take)
    rows = np.array([curve.at(time_s) for time_s in np.arange(0, curve.duration_s, 1 / 30)])
    assert rows[:, SMILE].max() > 0.5 and rows[:, JAW].max() > 0.3
    turns_deg = opposites(rows)[:, 0] * HEAD_FULL_DEG
    assert 15 < turns_deg.max() < 22 and turns_deg.min() > -3, "to the person's left alone"
    assert np.abs(rows).max() <= 1
