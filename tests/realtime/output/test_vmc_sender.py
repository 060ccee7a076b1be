"""What drives the puppet, as a program with an avatar receives it."""

import socket
import struct

import numpy as np
import pytest

from engines.errors import OutputError
from engines.face.action_units import EXPRESSION, from_opposites
from engines.face.arkit import PLACE
from realtime.output.outputs import open_output
from realtime.output.vmc_sender import VmcSender
from realtime.vmc import MAX_BYTES, VmcDecoder
from tests.support.fakes import speak


@pytest.fixture
def avatar():
    """(socket of a program with an avatar, the output that sends to it)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(2)
        sender = VmcSender(f"vmc:127.0.0.1:{receiver.getsockname()[1]}")
        yield receiver, sender
        sender.close()


def receive(receiver: socket.socket) -> list[bytes]:
    """The datagrams of one frame."""
    packets = [receiver.recv(4096)]
    while b"/VMC/Ext/Blend/Apply" not in packets[-1]:
        packets.append(receiver.recv(4096))
    return packets


def test_an_expression_is_sent_as_the_protocol_writes_it(avatar):
    receiver, sender = avatar
    sender.follow(speak(EXPRESSION, AU12L=0.5))
    packets = receive(receiver)
    assert all(packet.startswith(b"#bundle\0") and len(packet) <= MAX_BYTES for packet in packets)
    smile = b"/VMC/Ext/Blend/Val\0\0,sf\0MouthSmileLeft\0\0" + struct.pack(">f", 0.5)
    sent = b"".join(packets)
    assert struct.pack(">i", len(smile)) + smile in sent
    assert sent.count(b"/VMC/Ext/Blend/Val") == 52
    assert sent.index(b"/VMC/Ext/Bone/Pos\0\0\0,sfffffff\0\0\0Head\0\0\0\0") < sent.index(
        b"/VMC/Ext/Blend/Apply"
    )


def test_a_tracker_would_read_the_same(avatar):
    receiver, sender = avatar
    asked = speak(EXPRESSION, AU45=0.75)
    asked[-12:] = from_opposites(np.array([0.5, -0.25, 0.1, 0, 0.5, 0.25], np.float32))
    sender.follow(asked)
    decoder = VmcDecoder()
    (face,) = [face for packet in receive(receiver) for face in decoder.decode(packet)]
    assert face.shapes[[PLACE["eyeBlinkLeft"], PLACE["eyeBlinkRight"]]] == pytest.approx([0.75, 0.75])
    np.testing.assert_allclose(face.head_deg, [15, -7.5, 3], atol=1e-3)
    assert face.shapes[PLACE["eyeLookOutLeft"]] > 0.4 and face.shapes[PLACE["eyeLookInLeft"]] == 0


def test_it_takes_pictures_as_every_output_and_shows_none():
    output = open_output("vmc:localhost:39539", (64, 48), 30.0, live=True)
    output.send(np.zeros((48, 64, 3), np.uint8), 0.0)
    assert output.name == "vmc:localhost:39539" and not output.main_thread and not output.closed
    output.close()


@pytest.mark.parametrize(
    "text", ["vmc:127.0.0.1", "vmc:127.0.0.1:0", "vmc:127.0.0.1:x", "vmc:no.such.host.invalid:1"]
)
def test_a_place_that_is_none_is_refused(text):
    with pytest.raises(OutputError, match="vmc:HOST:PORT"):
        VmcSender(text)


def test_a_network_that_fails_is_reported_once_and_the_rest_goes_on(avatar):
    _, sender = avatar
    said: list[str] = []
    sender._notify = said.append
    sender.close()  # every later call of the socket fails
    for _ in range(3):
        sender.follow(speak(EXPRESSION))
    assert len(said) == 1 and "The puppet goes on." in said[0]
