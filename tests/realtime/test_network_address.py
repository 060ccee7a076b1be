"""HOST:PORT on the command line: one way to write it, one sentence where it is none."""

import pytest

from engines.errors import DriverError, OutputError
from realtime.network_address import NetworkAddress, parse_address
from realtime.output.vmc_sender import VmcSender
from realtime.sources.network_tracker import parse_tracker

DEFAULT = 39539


@pytest.mark.parametrize(
    "text, host, port",
    [
        ("", "127.0.0.1", DEFAULT),
        ("1", "127.0.0.1", 1),
        ("65535", "127.0.0.1", 65535),
        ("192.168.0.7:39541", "192.168.0.7", 39541),
        ("studio.local:80", "studio.local", 80),
        ("[::1]:39539", "::1", 39539),
        ("[fe80::1%eth0]:9", "fe80::1%eth0", 9),
    ],
)
def test_a_host_and_a_port_are_read(text, host, port):
    found = parse_address(text, DEFAULT)
    assert found == NetworkAddress(host, port)
    assert not text or parse_address(str(found), DEFAULT) == found


REFUSED = {
    "0": "1 to 65535",
    "65536": "1 to 65535",
    "127.0.0.1:0": "1 to 65535",
    "127.0.0.1:65536": "1 to 65535",
    "127.0.0.1": "'127.0.0.1' is no port",
    "127.0.0.1:": "no port after the colon",
    ":39539": "no host before the colon",
    "localhost:port": "'port' is no port",
    "phone": "'phone' is no port",
    "127.0.0.1:-5": "'-5' is no port",
    "127.0.0.1:\u0663": "is no port",
    "::1:39539": "brackets",
    "[::1]": "brackets",
    "[::1": "brackets",
    "a:b:5": "brackets",
}


@pytest.mark.parametrize("text", REFUSED)
def test_anything_else_is_the_same_sentence_wherever_it_is_named(text):
    with pytest.raises(OutputError) as sent:
        VmcSender(f"vmc:{text}")
    with pytest.raises(DriverError) as heard:
        parse_tracker(f"vmc:{text}")
    assert str(sent.value).removeprefix("--output") == str(heard.value).removeprefix("--driver")
    assert str(sent.value) == (
        f"--output vmc:{text} names no host and port ({sent.value.__cause__!s}): "
        "write vmc:PORT, vmc:HOST:PORT or vmc:[IPv6]:PORT."
    )
    assert REFUSED[text] in str(sent.value)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "\udcff"])
def test_a_host_that_is_not_found_is_the_same_sentence(host):
    with pytest.raises(OutputError, match=r"names no host and port .*: write vmc:PORT"):
        VmcSender(f"vmc:{host}:5")
