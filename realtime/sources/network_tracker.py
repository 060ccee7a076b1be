"""A tracker that sends faces over the network: a phone with a depth camera, or a program.

It is listened for at one address and port. Only the first sender is believed: its address for the whole run,
and its port until it was silent for SILENT_S, as an app that is started again has another. What others send
is dropped unread. Nothing is ever sent.
"""

import ipaddress
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from engines.errors import DriverError
from engines.face.arkit import ArkitFace
from realtime.messages import NOT_YET, NotYet
from realtime.network_address import LOOPBACK, NetworkAddress, parse_address, refusal
from realtime.sources.tracker_protocols import PROTOCOLS

READ_S = 0.05  # the longest wait of a read
MAX_DATAGRAM = 16_384  # bytes; the largest of these protocols are 4,000
MAX_DRAINED = 64  # datagrams of one read: a flood must not keep it from returning
SILENT_S = 1.0  # without a face, after which the sender is reported as silent: at 30 a second no accident
# Without a change in any value, which is reported and counts as no face: depth cameras have noise. As for a
# camera whose picture stands still.
STILL_S = 1.5


@dataclass(frozen=True)
class TrackedFace:
    """What a tracker sent."""

    face: ArkitFace | None  # None: it sees none
    received_s: float
    note: str = ""  # why there is none, in two words


@dataclass(frozen=True)
class TrackerAddress:
    """A value of --driver that names a tracker: ifacialmocap, vmc:39541, livelink:0.0.0.0:11111."""

    protocol: str
    place: NetworkAddress  # of this machine, an IP address

    def __str__(self) -> str:
        return str(self.place)

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can send to it."""
        return ipaddress.ip_address(self.place.host).is_loopback


def is_tracker(text: str) -> bool:
    """Whether a value of --driver names a tracker."""
    return text.partition(":")[0] in PROTOCOLS


def parse_tracker(text: str) -> TrackerAddress:
    """The address that a value of --driver names. Raises DriverError."""
    protocol, _, rest = text.partition(":")
    try:
        named = parse_address(rest, PROTOCOLS[protocol]().port)
        place = replace(named, host=LOOPBACK) if named.host == "localhost" else named
        if not _is_ip_address(place.host):
            raise ValueError(f"{place.host} is no address of this machine; 0.0.0.0 is any of them")
    except ValueError as error:
        raise DriverError(*refusal("--driver", text, error)) from error
    return TrackerAddress(protocol, place)


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class NetworkTracker:
    """Faces of the first sender at one port. `read` and `note` are for one thread each."""

    def __init__(self, text: str, notify: Callable[[str], None] = lambda _sentence: None):
        """
        Args:
            text: the value of --driver.
            notify: called with one sentence for the user at each change.

        Raises: DriverError when the port cannot be had.
        """
        self._address = parse_tracker(text)
        self._notify = notify
        self._decoder = PROTOCOLS[self._address.protocol]()
        self._socket = _listen(self._address, self._decoder.name)
        self._sender: tuple[str, int] | None = None  # address and port of the one that is believed
        self._heard_s = -np.inf  # when its last face came
        self._silent = False  # whether that was reported
        self._stranger_reported = False
        self._garbage_reported = False
        self._still = StillFace()
        remedy = "Send to an address of this machine."
        if self._address.is_loopback:
            remedy = f"A phone needs {self._address.protocol}:0.0.0.0:{self._address.place.port}."
        notify(f"Waiting for {self._decoder.name} at {self._address}. {remedy}")

    @property
    def note(self) -> str:
        """What is wrong, in two words; "" while faces come."""
        if self._sender is None:
            return "no tracker yet"
        if time.perf_counter() - self._heard_s > SILENT_S:
            return "tracker silent"
        return "tracker frozen" if self._still.frozen else ""

    def read(self) -> TrackedFace | NotYet | None:
        """The newest face; NOT_YET when none came in READ_S; None once closed."""
        newest: TrackedFace | None = None
        try:
            for number in range(MAX_DRAINED):
                self._socket.settimeout(READ_S if number == 0 else 0.0)
                data, sender = self._socket.recvfrom(MAX_DATAGRAM)
                newest = self._take(data, sender[:2], time.perf_counter()) or newest
        except (BlockingIOError, TimeoutError):
            pass
        except OSError:
            if self._socket.fileno() < 0:
                return None
            time.sleep(READ_S)  # Windows reports here what an earlier datagram met
        if newest is None:
            self._check_silence(time.perf_counter())
        return newest or NOT_YET

    def close(self) -> None:
        """For any thread."""
        self._socket.close()

    def _take(self, data: bytes, sender: tuple[str, int], now_s: float) -> TrackedFace | None:
        """The last face that a datagram completes."""
        if not self._is_believed(sender, now_s):
            return None
        try:
            faces = self._decoder.decode(data)
        except ValueError:
            self._report_garbage(sender)
            return None
        if sender != self._sender:
            self._begin(sender)
            faces = self._decoder.decode(data)  # by the new decoder, which has seen nothing of others
        if not faces:
            return None
        if self._silent:
            self._notify(f"{self._decoder.name} is back after {now_s - self._heard_s:.0f} s.")
            self._silent = False
        self._heard_s = now_s
        return self._judged(faces[-1], now_s)

    def _judged(self, face: ArkitFace | None, now_s: float) -> TrackedFace:
        if face is None:
            return TrackedFace(None, now_s, "face lost")
        was_frozen = self._still.frozen
        if self._still.update(face, now_s):
            if not was_frozen:
                self._notify(f"What {self._decoder.name} sends stands still: look at the app.")
            return TrackedFace(None, now_s, "tracker frozen")
        return TrackedFace(face, now_s)

    def _is_believed(self, sender: tuple[str, int], now_s: float) -> bool:
        if self._sender is None or sender == self._sender:
            return True
        if sender[0] == self._sender[0] and now_s - self._heard_s > SILENT_S:
            return True
        if not self._stranger_reported:
            self._stranger_reported = True
            self._notify(
                f"{_written(sender)} sends to {self._address} as well: only the first sender, "
                f"{_written(self._sender)}, is believed; stop one of them."
            )
        return False

    def _begin(self, sender: tuple[str, int]) -> None:
        if self._sender is None:
            self._notify(f"{self._decoder.name} sends from {sender[0]}.")
        self._sender = sender
        self._decoder = PROTOCOLS[self._address.protocol]()

    def _report_garbage(self, sender: tuple[str, int]) -> None:
        if not self._garbage_reported:
            self._garbage_reported = True
            self._notify(
                f"What {_written(sender)} sends to {self._address} is not {self._decoder.name}: "
                "choose the driver that goes with the app."
            )

    def _check_silence(self, now_s: float) -> None:
        if self._sender and not self._silent and now_s - self._heard_s > SILENT_S:
            self._silent = True
            self._notify(f"{self._decoder.name} has fallen silent: look at the app; the puppet goes on.")


class StillFace:
    """Notices that faces come and nothing in them changes."""

    def __init__(self) -> None:
        self.frozen = False
        self._last: ArkitFace | None = None
        self._changed_s = 0.0

    def update(self, face: ArkitFace, time_s: float) -> bool:
        """Whether nothing has changed for STILL_S, with a face at time_s."""
        last, self._last = self._last, face
        same = (
            last is not None
            and np.array_equal(last.shapes, face.shapes)
            and np.array_equal(last.head_deg, face.head_deg)
        )
        if not same:
            self._changed_s = time_s
        self.frozen = time_s - self._changed_s > STILL_S
        return self.frozen


def _listen(address: TrackerAddress, name: str) -> socket.socket:
    """A bound UDP socket. Raises DriverError."""
    family = socket.AF_INET6 if ":" in address.place.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: no other program may take the port as well
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        listening.bind((address.place.host, address.place.port))
    except OSError as error:
        listening.close()
        raise DriverError(
            f"{name} cannot be listened for at {address} ({error.strerror or error})",
            f"close the program that has the port, or name another: "
            f"--driver {address.protocol}:{str(address).rpartition(':')[0]}:PORT",
        ) from error
    return listening


def _written(sender: tuple[str, int]) -> str:
    return str(NetworkAddress(*sender))
