"""What an HTTP/1.1 server and what answers it say to one another: requests, strictly parsed, and responses.

Only what the page's own browser sends is understood; everything else is refused, so that nothing is left to
be understood in two ways. Source: RFC 9110 and 9112.
"""

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO
from urllib.parse import parse_qsl

MAX_JSON_BYTES = 64 * 1024
MAX_QUERY_FIELDS = 8
CHUNK_BYTES = 64 * 1024  # of a body that goes into a file

REASONS = {
    100: "Continue",
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

_REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH) (/[!-~]*) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\t]*)")


class Refused(Exception):
    """A request that is not done, with the status and the sentence of its answer."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass
class Request:
    """One request. Its body is read only when it is asked for."""

    method: str
    path: str  # as it was sent: nothing is decoded
    query: Mapping[str, str]
    fields: Mapping[str, str]  # of the header, by their names in lower case
    read: Callable[[int], bytes] = field(default=lambda _count: b"")  # so many bytes of the body, or fewer

    @property
    def length(self) -> int:
        """Of the body, in bytes. Raises Refused where the request does not say it."""
        if "transfer-encoding" in self.fields:
            raise Refused(411, "Say the length of what is sent.")
        text = self.fields.get("content-length", "0")
        if not text.isdecimal() or len(text) > 18:
            raise Refused(400, "The length of what is sent is no number.")
        return int(text)

    def cookie(self, name: str) -> str:
        """The value of a cookie; "" for none."""
        for part in self.fields.get("cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return ""

    def json(self) -> dict[str, Any]:
        """The body, an object in JSON. Raises Refused."""
        if self.fields.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "Only JSON is understood here.")
        if self.length > MAX_JSON_BYTES:
            raise Refused(413, "That is too long.")
        try:
            found = json.loads(self._whole(self.length))
        except (ValueError, RecursionError):
            raise Refused(400, "That is no JSON.") from None
        if not isinstance(found, dict):
            raise Refused(400, "That is no object in JSON.")
        return found

    def save(self, file: BinaryIO, most: int) -> None:
        """Writes the body into a file, part by part. Raises Refused where it is longer than `most` bytes."""
        left = self.length
        if left > most:
            raise Refused(413, f"The file is too large: at most {most // 1_000_000} MB are taken.")
        while left:
            part = self.read(min(left, CHUNK_BYTES))
            if not part:
                raise Refused(400, "The file did not arrive whole: send it again.")
            file.write(part)
            left -= len(part)

    def _whole(self, count: int) -> bytes:
        parts = []
        while count:
            part = self.read(count)
            if not part:
                raise Refused(400, "The request did not arrive whole.")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


@dataclass(frozen=True)
class Response:
    """An answer: a body at once, or part by part until the parts or the connection end."""

    status: int = 200
    body: bytes | Generator[bytes, None, None] = b""
    kind: str = "application/json"  # media type
    fields: Mapping[str, str] = field(default_factory=dict)


def answer(found: object = None, status: int = 200, **fields: str) -> Response:
    """A value as JSON; fields: of the header, with _ for -."""
    body = json.dumps({} if found is None else found, allow_nan=False, separators=(",", ":")).encode()
    return Response(status, body, fields={name.replace("_", "-"): value for name, value in fields.items()})


def refusal(refused: Refused) -> Response:
    """The answer to what is not done."""
    return answer({"error": refused.sentence}, refused.status)


def parse(head: bytes) -> Request:
    """The request line and the header, without the empty line behind them. Raises Refused."""
    first, *lines = head.split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if not found:
        raise Refused(400, "That is no request.")
    fields: dict[str, str] = {}
    for line in lines:
        named = _FIELD.fullmatch(line)
        if not named:
            raise Refused(400, "The header of the request is damaged.")
        name = named[1].decode().lower()
        if name in fields:  # two lengths or hosts could be understood in two ways
            raise Refused(400, f"The field {name} is there twice.")
        fields[name] = named[2].decode().strip()
    target = found[2].decode()
    path, _, query = target.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise Refused(400, "There is too much behind the ?.") from None
    return Request(found[1].decode(), path, dict(pairs), fields)
