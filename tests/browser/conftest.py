"""A real browser on the real `make demo`: gunicorn on files of the tests' own."""

import re
import shutil
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.project.conftest import Site

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
STARTS_WITHIN = 90


@dataclass
class Demo:
    """The demo site as a process: where it answers, and where its mail goes."""

    url: str
    mail: Path

    def last_mail(self) -> str:
        newest = max(self.mail.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return str(message_from_bytes(newest.read_bytes(), policy=policy.default).get_content())

    def last_link(self) -> str:
        found = re.search(r"http://\S+", self.last_mail())
        assert found, self.last_mail()
        return found[0]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    site = Site(folder / "var", env={"EMAIL_URL": f"filemail://{folder / 'mail'}"})
    port = free_port()
    server = site.start("demo", "--port", str(port))
    try:
        wait_until_served(f"http://127.0.0.1:{port}/healthz", server)
        yield Demo(f"http://127.0.0.1:{port}", folder / "mail")
    finally:
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
    assert server.returncode == 0, out + err
    assert "Traceback" not in err, err


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_served(url: str, server: object) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and server.poll() is None:  # type: ignore[attr-defined]
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    server.kill()  # type: ignore[attr-defined]
    pytest.fail("\n".join(server.communicate()))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # One a module and not one a session: while it runs, this thread counts as asynchronous and Django refuses queries.
    if CHROMIUM is None:
        pytest.skip("No Chromium on this machine. On Debian and Ubuntu: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A browser window that takes note of what no page may do: an error on the console, a request to elsewhere."""

    page: Page
    site: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"{self.page.url}: {error}"))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{self.page.url}: {message.text}")

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.site).netloc:
            self.problems.append(f"{self.page.url} asked another host: {request.url}")

    def goes_to(self, path: str) -> Page:
        self.page.goto(f"{self.site}{path}")
        return self.page

    def fills(self, **fields: str) -> None:
        for name, value in fields.items():
            self.page.locator(f"[name={name}]").fill(value)

    def presses(self, name: str) -> None:
        """Send the form, and wait for the page that answers."""
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name, exact=True).click()

    def violations(self) -> dict[str, list[str]]:
        """What axe finds on the page: rule -> the elements."""
        before = len(self.problems)
        found = Axe().run(self.page).response["violations"]
        del self.problems[before:]  # axe itself tries inline styles, which our policy refuses
        return {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in found}

    def is_at_ease(self) -> None:
        """axe finds nothing, nothing went wrong so far, the page does not scroll sideways, and the ledger is there."""
        assert self.problems == []
        assert self.violations() == {}, self.page.url
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{self.page.url} is too wide"
        assert self.page.locator(".ledger").count() == 1


@pytest.fixture(params=[(1280, "light"), (360, "dark")], ids=["wide-light", "narrow-dark"], scope="module")
def visitor(request: pytest.FixtureRequest, browser: Browser, demo: Demo) -> Iterator[Visitor]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield Visitor(context.new_page(), demo.url)
    context.close()
