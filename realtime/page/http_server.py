"""A small HTTP/1.1 server on the loopback interface, for the one browser of the page.

Everything is bounded: connections, the time that a request may take to arrive, its length, the time that a
client may take to read. Where all places are taken, the oldest connection that has not shown its cookie yet
makes room, so that no number of sockets keeps the page's own requests out. Each connection has a thread;
none of them is ever waited for by the live loop.
"""

import socket
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from types import TracebackType

from engines.errors import OutputError
from realtime.page.http_messages import REASONS, Refused, Request, Response, parse, refusal
from realtime.process.log import LOG
from realtime.process.worker import Worker

LOOPBACK = "127.0.0.1"
MAX_CONNECTIONS = 24  # two pages have six each, as browsers open no more to one server
MAX_HEAD_BYTES = 16 * 1024
HEAD_S = 5.0  # for a request's header to arrive, from its first byte on
IDLE_S = 15.0  # between two requests
BODY_S = 10.0  # for a body to arrive, and ...
BODY_BYTES_PER_S = 1_000_000  # ... a second more for so many bytes: loopback has a hundred times that
SEND_S = 5.0  # for a client to take a part of an answer
DRAIN_S, DRAIN_BYTES = 0.5, 1 << 20  # of a body that is not wanted: else the answer to it would be lost
BACKLOG = 16  # connections that wait to be accepted
POLL_S = 0.5  # how often the server looks whether it is to end
SEND_BUFFER_BYTES = 256 * 1024  # the system's own would keep seconds of pictures, which would be late

SAFE = {
    # Nothing is loaded from anywhere else, nothing inline is run, and no other site can embed the page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), usb=(), payment=()",
    "Cache-Control": "no-store",
}

Respond = Callable[[Request], tuple[Response, bool]]


class HttpServer:
    """Serves from `start` on; use as a context manager, or `close` it."""

    def __init__(self, port: int, respond: Respond):
        """
        Args:
            port: to listen at; 0: any that is free.
            respond: a request -> its answer, and whether its client has shown who it is. Called in the
                threads of the connections; raises Refused.

        Raises: OutputError where the port cannot be had.
        """
        self._respond = respond
        try:
            self._socket = socket.create_server((LOOPBACK, port), backlog=BACKLOG)
        except OSError as error:
            raise OutputError(
                f"The page cannot be served at port {port} ({error.strerror})",
                "name another port, as in --page=8178",
            ) from error
        self._socket.settimeout(POLL_S)
        self.port: int = self._socket.getsockname()[1]
        self._connections: list[_Connection] = []  # oldest first; changed by the accepting thread alone
        self._worker = Worker(self._accept, "page")

    def start(self) -> None:
        self._worker.start()

    def close(self) -> None:
        """Ends all connections; one whose thread hangs is left behind."""
        self._worker.close(POLL_S * 2)
        self._socket.close()
        for connection in self._connections:
            connection.end()
        for connection in self._connections:
            connection.join(POLL_S)

    def __enter__(self) -> "HttpServer":
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._worker.stopping:
            try:
                client, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError as error:  # too many open files: it may have passed in a moment
                LOG.debug("page: %s", error)
                self._worker.wait(POLL_S)
                continue
            self._connections = [each for each in self._connections if each.alive]
            if len(self._connections) >= MAX_CONNECTIONS and not self._make_room():
                client.close()
                continue
            connection = _Connection(client, self._respond)
            self._connections.append(connection)
            connection.start()

    def _make_room(self) -> bool:
        """Ends the oldest connection of a client that is not known; returns whether there was one."""
        for connection in self._connections:
            if not connection.known:
                connection.end()
                self._connections.remove(connection)
                return True
        return False


class _Connection:
    """One client's requests, in turn."""

    def __init__(self, client: socket.socket, respond: Respond):
        self._client = client
        self._respond = respond
        self._rest = b""  # that was received behind a header
        self.known = False  # whether a request of it has shown who it is
        self._worker = Worker(self._serve, "page connection")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def alive(self) -> bool:
        return self._worker.alive

    def start(self) -> None:
        self._worker.start()

    def join(self, timeout_s: float) -> None:
        self._worker.join(timeout_s)

    def end(self) -> None:
        """For any thread: its own wakes up, and leaves."""
        self._worker.stop()
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with closing(self._client), suppress(OSError):  # a client that has gone, or is too slow to read
            while not self._worker.stopping and self._serve_one():
                pass

    def _serve_one(self) -> bool:
        """One request; returns whether another may follow."""
        try:
            head = self._head()
            if head is None:
                return False
            request = parse(head)
        except Refused as refused:
            self._send(refusal(refused), False, keep=False)
            return False
        except TimeoutError:
            return False
        body = _Body(self, request)
        request.read = body.read
        try:
            response, self.known = self._respond(request)
        except Refused as refused:
            response = refusal(refused)
        except TimeoutError:
            response = refusal(Refused(408, "The request took too long to arrive."))
        except OSError:
            raise
        except Exception:  # a defect, which the thread's end reports
            self._send(refusal(Refused(500, "Something went wrong in the program itself.")), False, False)
            raise
        keep = body.left == 0 and response.status < 400 and isinstance(response.body, bytes)
        self._send(response, request.method == "HEAD", keep)
        if not keep:
            self._drain(body.left)
        return keep

    def _head(self) -> bytes | None:
        """A request line with its header; None where the client sends no more. Raises Refused, OSError."""
        data, self._rest = self._rest, b""
        end_s = time.monotonic() + (HEAD_S if data else IDLE_S)
        while (at := data.find(b"\r\n\r\n")) < 0:
            if len(data) > MAX_HEAD_BYTES:
                raise Refused(431, "The header of the request is too long.")
            began = bool(data)
            received = self.receive(MAX_HEAD_BYTES, end_s)
            if not received:
                return None
            data += received
            if not began:
                end_s = time.monotonic() + HEAD_S
        if at > MAX_HEAD_BYTES:
            raise Refused(431, "The header of the request is too long.")
        self._rest = data[at + 4 :]
        return data[:at]

    def receive(self, count: int, end_s: float) -> bytes:
        """Up to `count` bytes; b"" at the end. Raises TimeoutError after end_s, OSError."""
        if self._rest:
            data, self._rest = self._rest[:count], self._rest[count:]
            return data
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._client.settimeout(left_s)
        return self._client.recv(count)

    def send(self, data: bytes) -> None:
        """Raises OSError where the client has gone or does not read."""
        self._client.settimeout(SEND_S)  # of all of it
        self._client.sendall(data)

    def _send(self, response: Response, head_only: bool, keep: bool) -> None:
        whole = isinstance(response.body, bytes)
        lines = [f"HTTP/1.1 {response.status} {REASONS[response.status]}"]
        fields = {**SAFE, "Content-Type": response.kind, **response.fields}
        if isinstance(response.body, bytes):
            fields["Content-Length"] = str(len(response.body))
        fields["Connection"] = "keep-alive" if keep and whole else "close"
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        if isinstance(response.body, bytes):
            self.send(head if head_only else head + response.body)
            return
        self.send(head)
        self._stream(response.body)

    def _stream(self, parts: Generator[bytes, None, None]) -> None:
        with closing(parts):
            for part in parts:
                if self._worker.stopping:
                    return
                self.send(part)

    def _drain(self, left: int) -> None:
        """Takes a little of what still comes: a socket that is closed before loses the answer."""
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_WR)
            end_s = time.monotonic() + DRAIN_S
            taken = 0
            while left and taken < DRAIN_BYTES and (data := self.receive(MAX_HEAD_BYTES, end_s)):
                taken += len(data)


class _Body:
    """What follows a header, as far as it was said to go."""

    def __init__(self, connection: _Connection, request: Request):
        self._connection = connection
        self._request = request
        self._end_s = 0.0
        length = request.fields.get("content-length", "0")
        # Without a length all that comes is body, and the connection ends with it.
        endless = "transfer-encoding" in request.fields or not length.isdecimal()
        self.left = DRAIN_BYTES if endless else int(length)

    def read(self, count: int) -> bytes:
        """Up to `count` bytes, fewer at the end. Raises TimeoutError, OSError."""
        if not self._end_s:
            self._end_s = time.monotonic() + BODY_S + self.left / BODY_BYTES_PER_S
            if self._request.fields.get("expect", "").lower() == "100-continue":
                self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = self._connection.receive(min(count, self.left), self._end_s)
        self.left -= len(data)
        return data
