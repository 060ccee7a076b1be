"""HOST:PORT as the command line names it, for what is sent and for what is listened to."""

from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
LARGEST_PORT = 65_535


@dataclass(frozen=True)
class NetworkAddress:
    """A host and a port."""

    host: str  # a name or an address, IPv6 without its brackets
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int) -> NetworkAddress:
    """The address that a text names: "" (this machine, the default port), PORT, HOST:PORT, [IPv6]:PORT.

    Raises: ValueError with what is wrong, a clause.
    """
    if not text:
        return NetworkAddress(LOOPBACK, default_port)
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif text.startswith("[") or ":" in host:
        raise ValueError("an IPv6 address stands in brackets, and a port follows it")
    if colon and not host:
        raise ValueError("there is no host before the colon")
    if not (port.isascii() and port.isdecimal()):
        raise ValueError(f"{port!r} is no port" if port else "there is no port after the colon")
    if not 0 < int(port) <= LARGEST_PORT:
        raise ValueError(f"ports are 1 to {LARGEST_PORT}")
    return NetworkAddress(host or LOOPBACK, int(port))


def refusal(option: str, text: str, reason: object) -> tuple[str, str]:
    """What an error about an address says, and its remedy.

    Args:
        option: of the command line.
        text: its value: KIND:HOST:PORT.
        reason: what is wrong, a clause.
    """
    kind = text.partition(":")[0]
    return (
        f"{option} {text} names no host and port ({reason})",
        f"write {kind}:PORT, {kind}:HOST:PORT or {kind}:[IPv6]:PORT",
    )
