"""What drives the puppet, sent to a program with an avatar by the VMC protocol, as a tracker sends it."""

import socket
import time
from collections.abc import Callable

import numpy as np

from engines.errors import OutputError
from engines.face.arkit import face_of
from realtime import vmc
from realtime.network_address import parse_address, refusal


class VmcSender:
    """An Output that takes expressions and no pictures. `follow` is for one thread."""

    main_thread = False
    closed = False

    def __init__(self, text: str, notify: Callable[[str], None] = lambda _sentence: None):
        """
        Args:
            text: the value of --output: vmc, vmc:HOST:PORT.
            notify: called with one sentence for the user where nothing can be sent.

        Raises: OutputError where it names no host and port.
        """
        self.name = text
        self._notify = notify
        self._failed = False  # whether that was reported
        self._started_s = time.perf_counter()
        family, self._address = _resolve(text)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def follow(self, expression: np.ndarray) -> None:
        """Sends a change (41,) from rest; never waits."""
        face = face_of(expression)
        try:
            for data in vmc.encode(face, time.perf_counter() - self._started_s):
                self._socket.sendto(data, self._address)
        except BlockingIOError:  # the system's buffer is full: the next one is newer
            return
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._notify(
                    f"{self.name} cannot be sent to ({error.strerror or error}): check the network. "
                    "The puppet goes on."
                )

    def send(self, image: np.ndarray, time_s: float) -> None:
        """As Output's: its pictures go nowhere."""

    def close(self) -> None:
        self._socket.close()


def _resolve(text: str) -> tuple[int, tuple]:
    """(address family, socket address) that vmc:HOST:PORT names. Raises OutputError."""
    try:
        named = parse_address(text.partition(":")[2], vmc.PORT)
        family, _, _, _, address = socket.getaddrinfo(named.host, named.port, type=socket.SOCK_DGRAM)[0]
    except (OSError, ValueError) as error:  # UnicodeError, too: a name that no host can have
        reason = getattr(error, "strerror", None) or error
        raise OutputError(*refusal("--output", text, reason)) from error
    return family, address
