"""A walk through a running demo, from outside: does each page answer, from the right database, and is what is forbidden
refused by the servers themselves?"""

import json
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from apps.demo.people import demo_logins
from routers.topology import Cluster, topology

SECONDS = 10
# What each page is served from, by app; the first ones without a log-in. Each view is put into the cache's outbox.
PAGES = (
    ("/", ("blog", "cache")),
    ("/blog/", ("blog", "cache")),
    ("/blog/why-replicas-lie/", ("blog", "cache")),
    ("/blog/search/?q=router", ("blog", "cache")),
    ("/users/maya/", ("users", "cache")),
    ("/analytics/", ("analytics", "cache")),
    ("/legacy/", ("legacy", "cache")),
    ("/databases/", ("cache",)),
    ("/healthz", ()),
)
SIGNED_IN = (("/dashboard/", ("users", "blog", "analytics", "legacy", "cache")), ("/cache/", ("users", "cache")))


class Broken(Exception):
    """One thing is not as it has to be."""


class Command(BaseCommand):
    help = "Walks the pages of a running demo and tries what is forbidden. Exit status 1 if anything is out of order."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url", help="Where the site is: http://web:8000")

    def handle(self, **options: Any) -> None:
        site, broken = Visitor(options["url"]), 0
        for steps in (_pages(site, PAGES), _signed_in(site), _health(site), _forbidden()):
            for what, error in steps:
                broken += bool(error)
                self.stdout.write(self.style.ERROR(f"BROKEN  {what}: {error}") if error else f"ok      {what}")
        if broken:
            raise CommandError(f"{broken} out of order, as said above.")


Steps = Iterator[tuple[str, str]]


class Visitor:
    """A browser of sorts: cookies, and the host name that a demo answers to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.opener: OpenerDirector = build_opener(HTTPCookieProcessor(CookieJar()))

    def get(self, path: str, data: dict[str, str] | None = None) -> tuple[str, str]:
        """Returns the text and the Server-Timing header. Raises Broken unless the answer is 200."""
        body = urlencode(data).encode() if data else None
        request = Request(urljoin(self.url, path), body, {"Host": "localhost"})  # noqa: S310 - whoever runs it says where
        try:
            with self.opener.open(request, timeout=SECONDS) as response:
                return response.read().decode(), response.headers.get("Server-Timing", "")
        except URLError as error:
            raise Broken(str(error)) from error


def _pages(site: Visitor, pages: tuple[tuple[str, tuple[str, ...]], ...]) -> Steps:
    for path, labels in pages:
        try:
            served = aliases_in(site.get(path)[1])
            yield f"{path} from {', '.join(sorted(served)) or 'no database'}", misplaced(served, labels)
        except Broken as error:
            yield path, str(error)


def aliases_in(timing: str) -> set[str]:
    """The aliases of a Server-Timing header."""
    return set(re.findall(r"\bdb-(\w+);", timing))


def misplaced(served: set[str], labels: tuple[str, ...]) -> str:
    """What is wrong with a page of these apps that was served by these aliases; empty when nothing is."""
    clusters = [cluster for label in labels for cluster in topology().clusters_of_app(label)]
    for cluster in clusters:
        if not served & set(cluster.aliases):
            return f"nothing came from {' or '.join(cluster.aliases)}"
    strangers = served - {alias for cluster in clusters for alias in cluster.aliases}
    return f"{', '.join(sorted(strangers))} had no business there" if strangers else ""


def _signed_in(site: Visitor) -> Steps:
    login = demo_logins()[0]
    try:
        form, _ = site.get("/users/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        fields = {"username": login["username"], "password": login["password"], "next": "/dashboard/"}
        page, _ = site.get("/users/login/", fields | {"csrfmiddlewaretoken": token[1] if token else ""})
        yield "sign in", "" if login["username"] in page else "the page after it does not know who it is for"
    except Broken as error:
        yield "sign in", str(error)
    yield from _pages(site, SIGNED_IN)


def _health(site: Visitor) -> Steps:
    try:
        found = json.loads(site.get("/readyz")[0]).get("databases", {})
    except Broken as error:
        yield "/readyz", str(error)
        return
    for cluster in topology().clusters:
        for alias in cluster.aliases:
            role = "primary" if alias == cluster.primary else "replica"
            yield f"{alias} is a {role}, up", unfit(found.get(alias), role)


def unfit(seen: dict[str, str] | None, role: str) -> str:
    """What /readyz has against a database that should be up in this role; empty when nothing."""
    if seen is None:
        return "/readyz does not tell of it"
    as_wanted = (seen["state"], seen["role"]) == ("up", role)
    return "" if as_wanted else f"it is a {seen['role']}, {seen['state']}: {seen['remark']}"


def _forbidden() -> Steps:
    """What this site's own accounts must not be able to do, whatever its code says."""
    for cluster in topology().clusters:
        for alias in cluster.aliases:
            connection = connections[alias]
            if connection.vendor == "sqlite":  # where nobody is refused but by the file
                continue
            for statement in _statements(cluster, alias):
                yield f"{alias} refuses {' '.join(statement.split()[:3])}", _attempt(connection, statement)
            for name in _others(connection):
                yield f"{alias} is not let into {name}", _trespass(connection, name)


def _statements(cluster: Cluster, alias: str) -> Iterator[str]:
    yield "CREATE TABLE smoke (id integer)"
    table = next(apps.get_app_config(cluster.apps[0]).get_models())._meta.db_table
    if cluster.read_only or alias != cluster.primary or cluster.name == "analytics":
        yield f"DELETE FROM {table} WHERE 1 = 0"  # noqa: S608 - a name of ours


# Sessions that refuse to write may be told to: the account must be refused all the same.
WRITABLE = {
    "postgresql": "SET default_transaction_read_only = off",
    "mysql": "SET SESSION TRANSACTION READ WRITE",
}


def _attempt(connection: BaseDatabaseWrapper, statement: str) -> str:
    try:
        connection.ensure_connection()
        with connection.wrap_database_errors, connection.connection.cursor() as cursor:  # past our own guards
            cursor.execute(WRITABLE[connection.vendor])
            cursor.execute(statement)
    except DatabaseError as error:
        return "" if is_refusal(error) else str(error)
    return "it was carried out"


def _others(connection: BaseDatabaseWrapper) -> list[str]:
    """The databases of the other clusters on the same server."""
    here = connection.settings_dict
    there = [connections[cluster.primary].settings_dict for cluster in topology().clusters]
    return [other["NAME"] for other in there if other["ENGINE"] == here["ENGINE"] and other["NAME"] != here["NAME"]]


def _trespass(connection: BaseDatabaseWrapper, name: str) -> str:
    parameters = connection.get_connection_params()
    key = "dbname" if connection.vendor == "postgresql" else "database"
    try:
        with connection.wrap_database_errors:
            driver = connection.Database  # type: ignore[attr-defined]  # not in the stubs
            driver.connect(**(parameters | {key: name})).close()
    except DatabaseError as error:
        return "" if is_refusal(error) else str(error)
    return "it was let in"


def is_refusal(error: DatabaseError) -> bool:
    """Whether a server says that the account may not, and not that something else is wrong."""
    return bool(re.search(r"permission denied|read-only transaction|command denied", str(error)))
