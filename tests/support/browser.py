"""Debian's chromium by playwright: the page in a real browser, where both are there."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = (
    "there is no playwright: pip install -e '.[test]'"
    if find_spec("playwright") is None
    else "there is no chromium: apt install chromium"
    if CHROMIUM is None
    else ""
)
PATIENCE_S = 60.0  # a browser on a busy machine


@contextmanager
def browser() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container's root has no sandbox; the page is this project's own.
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


class Tab:
    """One tab with the page, and everything that went wrong in it."""

    def __init__(self, context: Any, address: str, own_host: str):
        self.page = context.new_page()
        self.faults: list[str] = []
        self.strangers: list[str] = []  # requests that leave the machine
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._on_console)
        self.page.on("request", lambda request: self._on_request(request.url, own_host))
        self.page.goto(address)

    def _on_console(self, message: Any) -> None:
        # What is refused on purpose is reported by the browser, too.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.faults.append(message.text)

    def _on_request(self, url: str, own_host: str) -> None:
        if not url.startswith((f"http://{own_host}/", "blob:", "data:")):
            self.strangers.append(url)

    def wait(self, condition: Any, what: str) -> None:
        """Waits until a condition holds, letting the browser go on; fails with `what`."""
        end_s = time.perf_counter() + PATIENCE_S
        while not condition():
            assert time.perf_counter() < end_s, what
            self.page.wait_for_timeout(50)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def pressed(self, selector: str) -> bool:
        return self.page.locator(selector).get_attribute("aria-pressed") == "true"
