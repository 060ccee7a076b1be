"""The page attacked over real sockets: what each attack gets, and that the call goes on at its rate."""

import re
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from realtime.page import access, http_server
from realtime.page.http_server import MAX_CONNECTIONS, MAX_HEAD_BYTES
from realtime.page.photo_routes import MAX_PHOTO_BYTES
from tests.support.page_client import FPS, PageClient, acting_page, running_page
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_page(tmp_path_factory.mktemp("page")) as found:
        yield found


@pytest.fixture
def client(running):
    """A page that acts."""
    return acting_page(running)


@pytest.fixture
def the_call_goes_on(running):
    """During an attack the output keeps its clock, and afterwards the program answers."""
    sent = len(running.output.times_s)
    yield
    wait_for(lambda: len(running.output.times_s) > sent + 3)
    gaps_s = np.diff(running.output.times_s[sent:])
    assert np.median(gaps_s) < 1.3 / FPS and gaps_s.max() < 0.5
    assert PageClient(running, log_in=False).get("/").status == 200


attack = pytest.mark.usefixtures("the_call_goes_on")


def connect(running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.page.port), timeout=10)


def answer_to(running, data: bytes) -> bytes:
    """All that is sent back until the connection is closed."""
    with connect(running) as client:
        client.sendall(data)
        return everything(client)


def everything(client: socket.socket) -> bytes:
    parts = []
    try:
        while part := client.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


# --- who asks -----------------------------------------------------------------------------------------------

LOOKS = ["/state", "/live?width=640", "/photos/thumbnail?number=1", "/photos/picture?number=1"]
ACTS = ["/panic", "/key", "/settings", "/photos", "/photos/show", "/photos/remove", "/act-here"]


@pytest.mark.parametrize("path", LOOKS)
def test_nothing_is_shown_without_a_token(running, path):
    stranger = PageClient(running, log_in=False)
    answer = stranger.get(path)
    assert answer.status == 401 and b"address that the program printed" in answer.body


@pytest.mark.parametrize("path", ACTS)
def test_nothing_is_done_without_a_token(running, path):
    assert PageClient(running, log_in=False).post(path, {"on": True}).status == 401
    assert not running.run.controls.panic


@pytest.mark.parametrize("lacking", ["cookie", "x_puppet_page"])
def test_neither_the_cookie_nor_the_key_alone_opens_anything(client, lacking):
    assert client.post("/panic", {"on": True}, **{lacking: None}).status == 401
    assert client.get("/state", **{lacking: "puppet=1"}).status == 401


@pytest.mark.parametrize("token", ["", "x", "é", None, 7, ["a"], "A" * 5000])
def test_a_wrong_token_opens_nothing(running, token):
    answer = PageClient(running, log_in=False).post("/login", {"token": token})
    assert answer.status == 401 and "set-cookie" not in answer.fields


def test_the_cookie_is_for_the_browser_alone_and_for_no_other_site(running):
    answer = PageClient(running, log_in=False).post("/login", {"token": running.page.access.token})
    cookie = answer.fields["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and running.page.access.token not in cookie


def test_the_code_of_the_browser_that_is_opened_is_taken_once_and_for_a_minute(running, monkeypatch):
    stranger = PageClient(running, log_in=False)
    code = running.page.access.new_code()
    assert stranger.post("/login", {"token": code}).status == 200
    assert stranger.post("/login", {"token": code}).status == 401
    late = running.page.access.new_code()
    monkeypatch.setattr(access.time, "monotonic", lambda: time.perf_counter() + 10**6)
    assert stranger.post("/login", {"token": late}).status == 401


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1", ""]
)
def test_another_sites_page_may_do_nothing(client, running, origin):
    for path in ("/panic", "/login"):
        assert client.post(path, {"on": True}, origin=origin).status == 403
    assert client.get("/state", origin=origin).status == 403
    assert not running.run.controls.panic


def test_a_form_or_a_script_without_an_origin_may_do_nothing(client):
    assert client.post("/panic", {"on": True}, origin=None).status == 403
    assert client.post("/panic", {"on": True}, content_type="text/plain").status == 415
    assert (
        client.get("/state", origin=None, sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status == 403
    )
    assert client.get("/state", origin=None, sec_fetch_site="same-site").status == 403
    assert (
        client.ask("OPTIONS", "/panic", access_control_request_method="POST", origin="http://a.b").status
        == 403
    )


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1.evil.example:{port}", "[::1]:{port}", ""],
)
def test_a_name_that_was_rebound_to_this_machine_opens_nothing(client, running, host):
    named = host.format(port=running.page.port)
    for path in ("/", "/state", "/main.js"):
        assert client.get(path, host=named).status == 421
    assert client.post("/panic", {"on": True}, host=named).status == 421
    assert client.get("/", host=None).status == 421


def test_only_this_machine_can_connect(running):
    address = socket.gethostbyname(socket.gethostname())
    if address.startswith("127."):
        address = "127.0.0.2"  # Linux has all of 127.0.0.0/8; the server has one address of it
    with pytest.raises(OSError), socket.create_connection((address, running.page.port), timeout=2):
        pass


# --- what is asked for --------------------------------------------------------------------------------------


@attack
@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/static/../page.py",
        "//etc/passwd",
        "/%2e%2e/page.py",
        "/main.js%00.html",
        "/page.py",
        "/main.js/../../page.py",
        "\\..\\page.py",
        "/photos/thumbnail?number=../../etc/passwd",
        "/photos/thumbnail?number=1e3",
        "/photos/thumbnail?number=-1",
        "/photos/thumbnail?number=" + "9" * 400,
    ],
)
def test_no_path_leads_to_a_file_that_is_not_the_pages(client, running, path):
    fields = "".join(f"{name}: {value}\r\n" for name, value in client.fields.items())
    answer = answer_to(running, f"GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode())
    assert re.match(rb"HTTP/1.1 4\d\d ", answer), answer[:200]
    assert b"root:" not in answer and b"import" not in answer


@pytest.mark.parametrize(
    "name", ["../../evil.jpg", "/etc/cron.d/x", "a\\..\\b.jpg", "\0", "..", "con.jpg", "é" * 300]
)
def test_the_name_of_an_upload_is_never_a_path(client, name, settings_folder):
    from urllib.parse import quote

    before = set(settings_folder.parent.rglob("*"))
    data = (Path(__file__).parents[3] / "realtime" / "samples" / "mature.jpg").read_bytes()
    answer = client.send(f"/photos?name={quote(name)}", data)
    assert answer.status == 200, answer.body
    new = {path for path in settings_folder.parent.rglob("*") if path.is_file()} - before
    assert {path.parent for path in new} <= {settings_folder / "photos"}
    assert client.post("/photos/remove", {"number": answer.found["number"]}).status == 200


@attack
@attack
@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "not a picture"),
        (b"<html><script>alert(1)</script>", "not a picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 200, "damaged"),
        (b"\xff\xd8\xff\xe0" + bytes(range(256)) * 40, "damaged"),
        (b"\0\0\0\x18ftypmp42" + b"\0" * 300, "a video"),
        (b"GIF89a" + b"\xff" * 60, "damaged"),
    ],
    ids=["nothing", "a page", "a cut PNG", "noise called JPEG", "a video", "a damaged GIF"],
)
def test_an_upload_is_judged_by_its_content(client, running, data, reason, settings_folder):
    count = len(running.run.photos.photos)
    answer = client.send("/photos?name=face.jpg", data)
    assert answer.status == 422, answer.body
    assert len(running.run.photos.photos) == count
    assert not list(settings_folder.rglob(".upload*")), "nothing is left of it"


@attack
def test_an_upload_that_says_to_have_two_gigabytes_is_refused_before_it_is_sent(client, running):
    fields = "".join(f"{name}: {value}\r\n" for name, value in client.fields.items())
    started_s = time.perf_counter()
    head = (
        f"POST /photos?name=x HTTP/1.1\r\n{fields}Content-Length: {2 << 30}\r\nExpect: 100-continue\r\n\r\n"
    )
    answer = answer_to(running, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ") and b"100 Continue" not in answer
    assert str(MAX_PHOTO_BYTES // 1_000_000).encode() in answer and time.perf_counter() - started_s < 2


def test_an_upload_that_goes_on_without_end_is_cut_off(client, running):
    fields = "".join(f"{name}: {value}\r\n" for name, value in client.fields.items())
    with connect(running) as sender:
        sender.sendall(f"POST /photos?name=x HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\n\r\n".encode())
        sent, part = 0, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with pytest.raises(OSError):
            while sent < 2 << 30:
                sender.sendall(part)
                sent += len(part)
        assert sent < 64 << 20, "it was closed long before"
    short = client.send("/photos?name=x", b"y" * 50, content_length="10")
    assert short.status == 422, "what comes behind the length is no part of it"


@pytest.mark.parametrize("length", ["-1", "1e9", "0x10", "9" * 30, "5, 5", ""])
def test_a_length_that_is_no_number_is_refused(client, length):
    assert client.send("/photos?name=x", b"", content_length=length).status in (400, 413, 422)


@attack
@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n b: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nX Y: z\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /?" + b"&".join(b"a=b" for _ in range(200)) + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_closed(running, data):
    assert re.match(rb"HTTP/1.1 4\d\d ", answer_to(running, data))


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"strength": 99},
        {"strength": "1"},
        {"head": float("nan")},
        {"groups": ["hat"]},
        {"AU12": {"gain": -1}},
        {"AU99": {"gain": 1}},
        {"seed": -1},
        {"__class__": 1},
        {"strength": True},
    ],
)
def test_settings_out_of_their_range_change_nothing(client, running, found):
    before = running.run.loop.animator.settings
    answer = client.post("/settings", found)
    assert answer.status in (400, 422) if found else answer.status == 200
    assert running.run.loop.animator.settings == before


@attack
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 60000, b'{"on":1}', b'"x"'])
def test_json_that_is_none_is_refused(client, running, body):
    answer = client.ask("POST", "/panic", body, content_type="application/json")
    assert answer.status in (400, 422) and not running.run.controls.panic


@attack
# --- many, and slow -----------------------------------------------------------------------------------------


@attack
def test_a_client_that_sends_its_request_letter_by_letter_is_cut_off(running, monkeypatch):
    monkeypatch.setattr(http_server, "HEAD_S", 0.6)
    with connect(running) as slow:
        started_s = time.perf_counter()
        with pytest.raises(OSError):
            for letter in b"GET / HTTP/1.1\r\nHost: " + b"a" * 1000:
                slow.sendall(bytes([letter]))
                time.sleep(0.05)
                slow.setblocking(False)
                try:
                    if not slow.recv(1):
                        raise ConnectionResetError
                except BlockingIOError:
                    pass
                slow.setblocking(True)
        assert time.perf_counter() - started_s < 3


@attack
def test_a_client_that_sends_its_body_slowly_is_cut_off(client, running, monkeypatch):
    monkeypatch.setattr(http_server, "BODY_S", 0.4)
    fields = "".join(f"{name}: {value}\r\n" for name, value in client.fields.items())
    head = f"POST /photos?name=x HTTP/1.1\r\n{fields}Content-Length: 1000\r\n\r\nabc"
    started_s = time.perf_counter()
    assert answer_to(running, head.encode()).startswith(b"HTTP/1.1 408 ")
    assert time.perf_counter() - started_s < 3


@attack
def test_a_page_that_does_not_read_its_pictures_is_cut_off_and_holds_nobody_up(client, running, monkeypatch):
    monkeypatch.setattr(http_server, "SEND_S", 0.4)
    with client.stream("/live?width=320"):
        wait_for(lambda: not running.page.view.watchers)


def test_fifty_sockets_keep_nobody_out(client, running):
    states = client.states()
    next(states)
    sockets = [connect(running) for _ in range(50)]
    try:
        alive = threading.active_count()
        assert alive < MAX_CONNECTIONS + 40, "each has a thread, and there are only so many"
        for _ in range(5):
            assert client.post("/panic", {"on": False}).status == 200, "they make room for a page's request"
        assert next(states)["running"], "and its stream goes on"
    finally:
        for each in sockets:
            each.close()


# --- pages --------------------------------------------------------------------------------------------------


def test_a_second_page_looks_on_until_it_says_that_it_acts(running):
    first = acting_page(running)
    of_first = first.states()
    assert next(of_first)["acting"]
    second = PageClient(running)
    of_second = second.states()
    assert not next(of_second)["acting"], "it is told so"
    refused = second.post("/panic", {"on": True})
    assert refused.status == 409 and "Another page acts" in refused.found["error"]
    assert not running.run.controls.panic
    assert len(next(second.pictures())) > 1000, "it may look"
    assert second.post("/act-here").status == 200
    assert second.post("/panic", {"on": True}).status == 200
    assert first.post("/panic", {"on": False}).status == 409
    assert second.post("/panic", {"on": False}).status == 200
    third = PageClient(running, log_in=False).post("/login", {"token": running.page.access.token})
    assert third.status == 409 and "close one of them" in third.found["error"]
    of_first.close()
    of_second.close()


def test_a_page_that_was_closed_no_longer_keeps_others_from_acting(running, monkeypatch):
    monkeypatch.setattr(access, "AWAY_S", 0.0)
    acting_page(running)
    second = PageClient(running)
    assert second.post("/panic", {"on": False}).status == 200


def test_a_tab_that_was_copied_ends_the_stream_of_the_one_before(client):
    states = client.states()
    next(states)
    copied = client.states()
    next(copied)
    assert len(list(states)) < 10, "it ended"
    copied.close()
