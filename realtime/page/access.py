"""Who may see the page, and who may act.

    token      made for the run, in the fragment of the page's address, which browsers send to nobody
    code       the same for the browser that the program opens, once and for a minute: other users of the
               machine can read the arguments of its processes
    cookie     given for either: HttpOnly, SameSite=Strict
    page key   of one tab, in its own memory, sent as a header: a cookie goes to every port of an address, and
               so to other servers of this machine, too

A request is answered where its Host is this server (an address that was rebound to this machine has another),
where its Origin, if it has one, is this page, and where it has cookie and key. One page acts; others look on.
"""

import secrets
import threading
import time
from dataclasses import dataclass, field

from realtime.page.http_messages import Refused, Request

TOKEN_BYTES = 32
CODE_S = 60.0  # in which the browser that was opened has to come
MAX_PAGES = 2  # that are open at a time: browsers have six connections to a server, and a page keeps two
MAX_KNOWN = 8  # pages; of those that are closed the oldest is forgotten
AWAY_S = 5.0  # without its stream, after which a page no longer keeps others from acting
PAGE_FIELD = "x-puppet-page"  # the header that has a page's key
OPEN_AGAIN = "Open the page by the address that the program printed."


@dataclass(eq=False)
class PageAccess:
    """One tab."""

    key: str
    seen_s: float  # when it had a stream of the state, by time.monotonic(); inf while it has
    streams: dict[str, object] = field(default_factory=dict)  # by their names: the marks of those that run


class Access:
    """Knows the pages of a run. For any thread."""

    def __init__(self, port: int):
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self._code: str | None = None
        self._code_end_s = 0.0
        self._cookie = secrets.token_urlsafe(TOKEN_BYTES)
        self._cookie_name = f"puppet-{port}"  # cookies know no ports
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._origins = {f"http://{host}" for host in self._hosts}
        self._lock = threading.Lock()
        self._pages: dict[str, PageAccess] = {}
        self._acting: PageAccess | None = None

    @property
    def open_pages(self) -> int:
        """How many pages are there now."""
        return sum(page.seen_s == float("inf") for page in tuple(self._pages.values()))

    def new_code(self) -> str:
        """A token for one page, within CODE_S; an earlier one is no longer taken."""
        with self._lock:
            self._code = secrets.token_urlsafe(TOKEN_BYTES)
            self._code_end_s = time.monotonic() + CODE_S
            return self._code

    def check_address(self, request: Request) -> None:
        """Raises Refused for a request that was not made for this server, or by another site."""
        if request.fields.get("host", "") not in self._hosts:
            raise Refused(421, "There is no such server here.")
        origin = request.fields.get("origin")
        if origin is not None and origin not in self._origins:
            raise Refused(403, "Only the page itself may ask for that.")
        if request.method not in ("GET", "HEAD") and origin is None:
            raise Refused(403, "Only the page itself may ask for that.")
        site = request.fields.get("sec-fetch-site", "same-origin")
        followed = request.fields.get("sec-fetch-mode") == "navigate" and request.method == "GET"
        if site not in ("same-origin", "none") and not followed:
            raise Refused(403, "Only the page itself may ask for that.")

    def log_in(self, token: str) -> tuple[str, str]:
        """The key of a new page, and the field that sets the cookie. Raises Refused."""
        with self._lock:
            code, fits = self._code, secrets.compare_digest(token.encode(), self.token.encode())
            if code and secrets.compare_digest(token.encode(), code.encode()):
                self._code = None
                if time.monotonic() > self._code_end_s:
                    raise Refused(401, OPEN_AGAIN)
                fits = True
            if not fits:
                raise Refused(401, OPEN_AGAIN)
            if self.open_pages >= MAX_PAGES:
                raise Refused(
                    409, f"{MAX_PAGES} pages are open already: close one of them, and load this again."
                )
            page = PageAccess(secrets.token_urlsafe(TOKEN_BYTES), time.monotonic())
            while len(self._pages) >= MAX_KNOWN:
                oldest = min(self._pages.values(), key=lambda each: each.seen_s)
                del self._pages[oldest.key]
            self._pages[page.key] = page
            if self._acting is None or self._is_away(self._acting):
                self._acting = page
        cookie = f"{self._cookie_name}={self._cookie}; HttpOnly; SameSite=Strict; Path=/"
        return page.key, cookie

    def page(self, request: Request) -> PageAccess:
        """The page that asks. Raises Refused where it is none of this run's."""
        cookie = request.cookie(self._cookie_name)
        page = self._pages.get(request.fields.get(PAGE_FIELD, ""))
        if page is None or not secrets.compare_digest(cookie.encode(), self._cookie.encode()):
            raise Refused(401, OPEN_AGAIN)
        return page

    def acts(self, page: PageAccess) -> bool:
        """Whether a page may act; the first to ask where the one before is away."""
        with self._lock:
            if self._acting is None or (self._acting is not page and self._is_away(self._acting)):
                self._acting = page
            return self._acting is page

    def check_acts(self, page: PageAccess) -> None:
        """Raises Refused for a page that only looks on."""
        if not self.acts(page):
            raise Refused(409, "Another page acts. Press “Act here” to act from this one.")

    def act_here(self, page: PageAccess) -> None:
        """From now on this page acts."""
        with self._lock:
            self._acting = page

    def begin_stream(self, page: PageAccess, name: str) -> object:
        """A mark for a stream; one of the same page and name that runs already is to end."""
        with self._lock:
            mark = object()
            page.streams[name] = mark
            if name == "state":
                page.seen_s = float("inf")
            return mark

    def runs(self, page: PageAccess, name: str, mark: object) -> bool:
        """Whether a stream may go on."""
        return page.streams.get(name) is mark

    def end_stream(self, page: PageAccess, name: str, mark: object) -> None:
        with self._lock:
            if page.streams.get(name) is mark:
                del page.streams[name]
                if name == "state":
                    page.seen_s = time.monotonic()

    @staticmethod
    def _is_away(page: PageAccess) -> bool:
        return time.monotonic() - page.seen_s > AWAY_S
