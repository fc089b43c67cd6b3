"""A web process of the site, and visitors who ask it over HTTP while something happens to its databases."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from threading import Event, Thread
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

from tests.browser.conftest import free_port
from tests.project.conftest import Site
from tests.servers.processes import Workshop

STARTS_WITHIN = 60
# Longer than anything here may take.
TIMEOUT = 30


@dataclass
class Answer:
    """A response, when it was asked for and how long it took; status 0 when there was none."""

    path: str
    at: float
    status: int = 0
    seconds: float = 0.0
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def served_by(self) -> set[str]:
        """The aliases that the Server-Timing header names."""
        return set(re.findall(r"db-(\w+);", self.headers.get("Server-Timing", "")))

    def __str__(self) -> str:
        return f"{self.status} {self.path} after {self.seconds:.2f} s"


class Web:
    """gunicorn with one worker and eight threads. It ends with the test run, however that ends."""

    def __init__(self, site: Site, **env: str) -> None:
        self.port = free_port()
        self.workshop = Workshop("root")
        variables = {"DJANGO_SETTINGS_MODULE": "config.settings.base"} | site.environment() | env
        self.workshop.start(
            "env", *(f"{name}={value}" for name, value in variables.items()), sys.executable, "-m", "gunicorn",
            "--chdir", site.root, "--bind", f"127.0.0.1:{self.port}", "--worker-class=gthread", "--threads=8",
            "--no-control-socket", "--log-level=warning", "config.wsgi", log="web.log",
        )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.end()
            raise

    @property
    def log(self) -> str:
        return (self.workshop.folder / "web.log").read_text()

    def end(self) -> None:
        self.workshop.end()

    def _wait(self) -> None:
        deadline = time.monotonic() + STARTS_WITHIN
        while Visitor(self).get("/healthz").status != 200:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)


@contextmanager
def served(site: Site, **env: str) -> Iterator[Web]:
    web = Web(site, **env)
    try:
        yield web
    finally:
        web.end()


class _Stay(HTTPRedirectHandler):
    """A redirect is an answer, too."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Visitor:
    """A browser's memory: its cookies."""

    def __init__(self, web: Web) -> None:
        self.web, self.jar = web, CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.jar), _Stay)

    def get(self, path: str, method: str = "GET") -> Answer:
        return self._ask(path, method, None)

    def post(self, path: str, **fields: str) -> Answer:
        token = next((cookie.value for cookie in self.jar if cookie.name == "csrftoken"), None)
        return self._ask(path, "POST", urlencode({"csrfmiddlewaretoken": token or ""} | fields).encode())

    def log_in(self, username: str, password: str = "demo") -> None:
        self.get("/users/login/")
        answer = self.post("/users/login/", username=username, password=password)
        assert answer.status == 302, answer.text

    def _ask(self, path: str, method: str, data: bytes | None) -> Answer:
        request = Request(f"http://127.0.0.1:{self.web.port}{path}", data, method=method)
        answer = Answer(path, time.monotonic())
        try:
            self._keep(answer, self.opener.open(request, timeout=TIMEOUT))
        except HTTPError as error:
            self._keep(answer, error)
        except (URLError, OSError) as error:
            answer.text = repr(error)
        answer.seconds = time.monotonic() - answer.at
        return answer

    def _keep(self, answer: Answer, response: HTTPResponse | HTTPError) -> None:
        with response:
            answer.status, answer.text = response.status or 0, response.read().decode()
            answer.headers = dict(response.headers.items())


@contextmanager
def reading(visitors: list[Visitor], pages: list[str]) -> Iterator[list[Answer]]:
    """Have each visitor read the pages over and over while the block lasts; what they were answered, in the end all."""
    answers: list[Answer] = []
    over = Event()

    def read(visitor: Visitor) -> None:
        while not over.is_set():
            answers.extend(map(visitor.get, pages))

    threads = [Thread(target=read, args=[visitor], daemon=True) for visitor in visitors]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join(TIMEOUT * len(pages))


def failed(answers: list[Answer]) -> list[str]:
    """What a visitor should never see: anything but a page."""
    return [str(answer) for answer in answers if not 200 <= answer.status < 400]


def report(line: str) -> None:
    """For whoever runs the tests with -s, or sees one fail."""
    sys.stdout.write(f"{line}\n")


def figures(name: str, answers: list[Answer]) -> str:
    """A line for the report, with the slowest answer and the 99th percentile."""
    seconds = sorted(answer.seconds for answer in answers)
    at = seconds[int(len(seconds) * 0.99)]
    return (
        f"{name}: {len(answers)} answers, {len(failed(answers))} failed, 99 % in {at:.2f} s, all in {seconds[-1]:.2f} s"
    )
