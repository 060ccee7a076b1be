"""Packets written by hand from the protocols' documents, and damaged ones."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.face.arkit import PLACE, look
from realtime.sources.tracker_protocols import (
    PROTOCOLS,
    IFacialMocapDecoder,
    LiveLinkFaceDecoder,
)
from realtime.vmc import VmcDecoder
from tests.support import phone

POSE = (20.0, -10.0, 5.0)  # to their left, down, tilted to their left
SHAPES = {"mouthSmileLeft": 0.5, "eyeBlinkRight": 0.25, "jawOpen": 0.75, "eyeLookUpLeft": 0.5}
PACKETS = {
    "ifacialmocap": [phone.ifacialmocap(POSE, **SHAPES)],
    "livelink": [phone.live_link(POSE, **SHAPES)],
    "vmc": phone.vmc(POSE, **SHAPES),
}


def decoded(protocol: str, packets: list[bytes]) -> list:
    decoder = PROTOCOLS[protocol]()
    return [face for packet in packets for face in decoder.decode(packet)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shapes_and_head_are_read(protocol):
    (face,) = decoded(protocol, PACKETS[protocol])
    assert face.shapes.shape == (52,) and face.shapes.dtype == np.float32
    for name, value in SHAPES.items():
        assert face.shapes[PLACE[name]] == pytest.approx(value, abs=0.006), name
    assert np.count_nonzero(face.shapes) == len(SHAPES)
    np.testing.assert_allclose(face.head_deg, POSE, atol=1e-3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_packet_of_another_protocol_is_refused(protocol):
    for other in set(PROTOCOLS) - {protocol}:
        with pytest.raises(ValueError):
            decoded(protocol, PACKETS[other][:1])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_packets_are_refused_or_give_a_sound_face(protocol, data):
    packet = bytearray(PACKETS[protocol][0])
    for _ in range(data.draw(st.integers(0, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(packet[: data.draw(st.integers(0, len(packet)))])
    try:
        faces = decoded(protocol, [cut, *PACKETS["vmc"][1:]] if protocol == "vmc" else [cut])
    except ValueError:
        return
    for face in filter(None, faces):
        assert np.isfinite(face.shapes).all() and np.isfinite(face.head_deg).all()
        assert face.shapes.min() >= 0 and face.shapes.max() <= 1


@pytest.mark.parametrize(
    "text",
    [
        b"jawOpen-nan|=head#1,2,3,0,0,0|",
        b"jawOpen-10|=head#1,inf,3,0,0,0|",
        b"jawOpen-10|=head#1,2|",
        b"jawOpen-10|",
        b"jawOpen|=head#1,2,3|",
        "jawOpen-10|=kopf#1,2,3|".encode("utf-16"),
    ],
)
def test_ifacialmocap_that_cannot_be_is_refused(text):
    with pytest.raises(ValueError):
        IFacialMocapDecoder().decode(text)


def test_ifacialmocap_names_shapes_in_two_ways_and_knows_the_distance():
    for packet in (
        phone.ifacialmocap(distance_m=0.3, joint="&", mouthSmileLeft=0.5),
        b"mouthSmileLeft&50|=head#0,0,0,0,0,-0.3|",
    ):
        (face,) = IFacialMocapDecoder().decode(packet)
        assert face.shapes[PLACE["mouthSmileLeft"]] == 0.5
        assert face.distance_m == pytest.approx(0.3)


def test_live_link_without_a_face_says_so():
    decoder = LiveLinkFaceDecoder()
    assert decoder.decode(phone.live_link_without_face("a phone")) == [None]
    assert decoder.decode(phone.live_link_without_face("a phone") + b"\0") == [None]


def test_live_link_of_an_unknown_version_or_length_is_refused():
    packet = phone.live_link(POSE)
    for wrong in (b"\x07" + packet[1:], packet[:-4], packet + b"\0", packet[:20]):
        with pytest.raises(ValueError):
            LiveLinkFaceDecoder().decode(wrong)
    with pytest.raises(ValueError):
        LiveLinkFaceDecoder().decode(packet[:-4] + struct.pack(">f", float("nan")))


def test_vmc_is_a_face_once_it_is_applied_and_keeps_what_is_not_sent_again():
    decoder = VmcDecoder()
    assert decoder.decode(phone.osc("/VMC/Ext/Blend/Val", "JawOpen", 0.5)) == []
    assert decoder.decode(phone.osc("/VMC/Ext/Blend/Val", "mouthpucker", 2.0)) == []
    (first,) = decoder.decode(phone.osc("/VMC/Ext/Blend/Apply"))
    assert first.shapes[PLACE["jawOpen"]] == 0.5 and first.shapes[PLACE["mouthPucker"]] == 1
    (second,) = decoder.decode(
        phone.osc_bundle(phone.osc("/VMC/Ext/Blend/Val", "JawOpen", 0.1), phone.osc("/VMC/Ext/Blend/Apply"))
    )
    assert second.shapes[PLACE["jawOpen"]] == pytest.approx(0.1)
    assert first.shapes[PLACE["jawOpen"]] == 0.5, "an earlier face is not changed"


def test_vmc_that_does_not_see_its_user_says_so():
    decoder = VmcDecoder()
    packet = phone.osc_bundle(phone.osc("/VMC/Ext/OK", 1, 3, 0, 0), phone.osc("/VMC/Ext/Blend/Apply"))
    assert decoder.decode(packet) == [None]
    packet = phone.osc_bundle(phone.osc("/VMC/Ext/OK", 1, 3, 0, 1), phone.osc("/VMC/Ext/Blend/Apply"))
    assert None not in decoder.decode(packet)


def test_vmc_eyes_are_read_from_their_bones_where_no_shapes_say_where_they_look():
    turned = (0.0, -float(np.sin(np.deg2rad(10))), 0.0, float(np.cos(np.deg2rad(10))))  # 20 degrees left
    bones = [phone.osc("/VMC/Ext/Bone/Pos", name, 0.0, 0.0, 0.0, *turned) for name in ("LeftEye", "RightEye")]
    apply = phone.osc("/VMC/Ext/Blend/Apply")
    (face,) = VmcDecoder().decode(phone.osc_bundle(*bones, apply))
    np.testing.assert_allclose(look(face.shapes), [0.5, 0], atol=1e-3)
    by_shapes = phone.osc("/VMC/Ext/Blend/Val", "EyeLookUpLeft", 0.0)
    (face,) = VmcDecoder().decode(phone.osc_bundle(*bones, by_shapes, apply))
    assert not look(face.shapes).any()


def test_a_neck_turns_the_head_as_well_in_vmc():
    half = (0.0, -float(np.sin(np.deg2rad(5))), 0.0, float(np.cos(np.deg2rad(5))))
    bones = [phone.osc("/VMC/Ext/Bone/Pos", name, 0.0, 0.0, 0.0, *half) for name in ("Neck", "Head")]
    (face,) = VmcDecoder().decode(phone.osc_bundle(*bones, phone.osc("/VMC/Ext/Blend/Apply")))
    np.testing.assert_allclose(face.head_deg, [20, 0, 0], atol=1e-3)


def test_bundles_within_bundles_without_end_are_refused():
    packet = phone.osc("/VMC/Ext/Blend/Apply")
    for _ in range(600):
        packet = phone.osc_bundle(packet)
    with pytest.raises(ValueError):
        VmcDecoder().decode(packet)
