"""Reads on a real standby, and what a visitor is promised about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.project.conftest import Site
from tests.servers.conftest import python
from tests.servers.processes import Postgres

# What each test's code begins with, in the site's own process, once its prober has looked.
HEAD = """
import re, time
from django.db import connections, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from apps.blog.models import Post, Tag
from routers.health import health, snapshot
from routers.promises import position, reached
from routers.scopes import allow_replicas, at_least
from routers.state import routing_state
snapshot(timeout=2)

def browser():
    return Client(headers={"host": "localhost"})

def served(response):
    # Without the outbox that each page view is put into.
    return sorted({*re.findall(r"db-(\\w+);", response.headers.get("Server-Timing", ""))} - {"cache_db"})

def carried(client):
    return len([name for name, cookie in client.cookies.items() if name.startswith("pos.") and cookie.value])

def eventually(true):
    until = time.monotonic() + 10
    while not true() and time.monotonic() < until:
        time.sleep(0.1)
    return bool(true())

url = Post.objects.order_by("pk").first().get_absolute_url()
"""


@pytest.fixture(scope="module")
def site(postgres: Postgres, servers_site: Site) -> Site:
    postgres.catch_up()
    return servers_site


@contextmanager
def paused(postgres: Postgres) -> Iterator[None]:
    """The standby receives and replays nothing for as long as the block lasts."""
    standby = postgres.standbys[0]
    postgres.query("postgres", "SELECT pg_wal_replay_pause()", admin=True, on=standby)
    try:
        yield
    finally:
        postgres.query("postgres", "SELECT pg_wal_replay_resume()", admin=True, on=standby)


def test_visitor_sees_what_they_wrote_while_the_replica_lags_and_strangers_read_on_from_it(
    postgres: Postgres, site: Site
) -> None:
    code = """
maya, said = browser(), f"said at {time.time()}"
maya.post("/users/login/", {"username": "maya", "password": "demo"})
page = maya.post(url, {"content": said}, follow=True)
again, stranger = maya.get(url), browser().get(url)
answer = {
    "own": [said in page.text, said in again.text, "default" in served(again), carried(maya)],
    "stranger": [said in stranger.text, served(stranger)],
}
"""
    with paused(postgres):
        found = python(site, HEAD + code.replace(".text", ".getvalue().decode()"))
    assert found["own"] == [True, True, True, 1]
    assert found["stranger"] == [False, ["read_replica_1"]], "the control: the replica really was behind"


def test_lock_on_an_account_holds_for_whoever_brings_no_cookie_while_the_replica_lags(
    postgres: Postgres, site: Site
) -> None:
    code = """
def log_in(password):
    return browser().post("/users/login/", {"username": "maya", "password": password}).status_code

tried = [log_in("wrong") for _ in range(5)]
from axes.models import AccessAttempt
known = AccessAttempt.objects.using("users_replica_1").filter(username="maya").count()
answer = [tried, known, log_in("demo")]
AccessAttempt.objects.filter(username="maya").delete()
"""
    with paused(postgres):
        tried, known, right = python(site, HEAD + code)
    assert (tried, known) == ([200, 200, 200, 200, 429], 0), "the replica knows of no attempt"
    assert right == 429


def test_position_is_dropped_once_the_replica_has_passed_it(postgres: Postgres, site: Site) -> None:
    code = """
maya = browser()
maya.post("/users/login/", {"username": "maya", "password": "demo"})
maya.post(url, {"content": "hello"})
eventually(lambda: [maya.get(url), carried(maya)][1] == 0)
answer = [carried(maya), served(maya.get(url))]
"""
    assert python(site, HEAD + code) == [0, ["read_replica_1", "users_replica_1"]]


def test_page_of_a_visitor_without_a_position_costs_nothing_more(site: Site) -> None:
    code = """
to_replica, to_primary = (CaptureQueriesContext(connections[alias]) for alias in ("read_replica_1", "default"))
with to_replica as replica, to_primary as primary:
    response = browser().get("/blog/")
answer = [len(replica), len(primary), [cookie for cookie in response.cookies if cookie.startswith("pos.")]]
"""
    assert python(site, HEAD + code) == [3, 0, []]


def test_position_costs_one_query_where_the_prober_has_not_seen_it_yet(site: Site) -> None:
    code = """
with routing_state(is_request=True) as known:
    Tag.objects.create(name="Cost", slug="cost")
    with CaptureQueriesContext(connections["default"]) as asked:
        required = reached(known)
with routing_state(is_request=True, required=required), CaptureQueriesContext(connections["read_replica_1"]) as replica:
    found = [Tag.objects.filter(slug="cost").exists() for _ in range(3)]
Tag.objects.filter(slug="cost").delete()
answer = [len(asked), found, len(replica)]
"""
    assert python(site, HEAD + code) == [1, [True] * 3, 4]


WRITES = {
    "create": 'Tag.objects.create(name="W", slug="w")',
    "save(using=)": 'Tag(name="W", slug="w").save(using="default")',
    ".using().update()": 'Tag.objects.using("default").filter(slug="none").update(name="W")',
    "cursor": 'connections["default"].cursor().execute("DELETE FROM blog_tag WHERE slug = %s", ["none"])',
    "get_or_create": 'Tag.objects.get_or_create(slug="w", defaults={"name": "W"})',
    "update_or_create": 'Tag.objects.update_or_create(slug="w", defaults={"name": "W"})',
    "select_for_update": """
with transaction.atomic():
    list(Tag.objects.select_for_update().all()[:1])""",
    "a row of the replica, saved": 'tag = Tag.objects.using("read_replica_1").first(); tag.save()',
}


def test_every_way_to_write_leads_the_reads_after_it_to_the_primary(site: Site) -> None:
    code = f"""
answer = {{}}
for name, write in {WRITES!r}.items():
    Tag.objects.filter(slug="w").delete()
    with routing_state(is_request=True) as known:
        before = Tag.objects.all().db
        exec(write)
        after = Tag.objects.all().db
    answer[name] = [before, after, known.decisions["default", "blog_tag"].reason.partition(":")[0]]
Tag.objects.filter(slug="w").delete()
"""
    found: dict[str, Any] = python(site, HEAD + code)
    assert found == {name: ["read_replica_1", "default", "wrote"] for name in WRITES}


UNSEEN = {
    "copy": """
with connections["default"].cursor() as cursor, cursor.copy("COPY blog_tag (name, slug) FROM STDIN") as rows:
    rows.write_row(("W", "w"))""",
    "callproc": 'connections["default"].cursor().callproc("txid_current")',
}


def test_writes_that_no_execute_wrapper_sees_count_as_writes(site: Site) -> None:
    code = f"""
answer = {{}}
for name, write in {UNSEEN!r}.items():
    with routing_state(is_request=True) as known:
        exec(write)
        answer[name] = [Tag.objects.all().db, list(reached(known))]
Tag.objects.filter(slug="w").delete()
"""
    assert python(site, HEAD + code) == {name: ["default", ["blog"]] for name in UNSEEN}


def test_writes_that_no_execute_wrapper_sees_are_asked_of_the_guards(site: Site) -> None:
    code = f"""
from django.test import override_settings
from routers.guards import WrittenOnSafeRequest
answer = {{}}
for name, write in {UNSEEN!r}.items():
    with routing_state(is_request=True, is_safe=True), override_settings(DATABASE_GUARDS="raise"):
        try:
            exec(write)
        except WrittenOnSafeRequest as error:
            answer[name] = str(error).partition(" at ")[0]
"""
    found = python(site, HEAD + code)
    assert found == {"copy": "COPY was sent to default", "callproc": "CALL was sent to default"}


def test_explicit_read_of_the_primary_counts_as_seen(site: Site) -> None:
    code = """
with routing_state(is_request=True) as known:
    Tag.objects.using("default").first()
    answer = [Tag.objects.all().db, list(reached(known))]
"""
    assert python(site, HEAD + code) == ["default", ["blog"]]


def test_position_of_a_command_is_that_of_each_primary(postgres: Postgres, site: Site) -> None:
    code = """
Tag.objects.create(name="Command", slug="command")
with at_least(position()):
    answer = [Tag.objects.all().db, Tag.objects.filter(slug="command").exists()]
Tag.objects.filter(slug="command").delete()
"""
    with paused(postgres):
        assert python(site, HEAD + code) == ["default", True]


def test_one_connection_to_the_primary_that_is_cut_makes_no_page_stale(postgres: Postgres, site: Site) -> None:
    """A visitor with a position, whose replica is behind, reads the primary: its connection is cut in the middle."""
    code = """
from django.http import HttpRequest, HttpResponse
from routers.middleware import RoutingMiddleware
from routers.positions import dumps
with routing_state(is_request=True) as known:
    Tag.objects.create(name="Cut", slug="cut")
    text = dumps(reached(known))
runs = []
def view(request):
    runs.append(Tag.objects.filter(slug="cut").exists())
    if len(runs) == 1:
        pid = connections["default"].connection.info.backend_pid
        with connections["analytics_db"].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    try:
        found = Tag.objects.filter(slug="cut").exists()
    except Exception:
        found = None
    return HttpResponse(str(found))
request = HttpRequest()
request.method, request.COOKIES = "GET", {"pos.00000000": text}
response = RoutingMiddleware(view)(request)
answer = [response.getvalue().decode(), runs, health("default").state]
Tag.objects.filter(slug="cut").delete()
"""
    with paused(postgres):
        assert python(site, HEAD + code) == ["True", [True, True], "up"]


def test_breaker_that_opens_between_two_reads_is_noticed_like_any_failure(site: Site) -> None:
    code = """
from django.db import OperationalError
from routers import health as module
from routers.backends import breaker
with routing_state(is_request=True) as known:
    held = [Tag.objects.count() and Tag.objects.all().db for _ in range(3)]
    def refuse(alias):
        if alias == held[0]:
            raise module.DatabaseUnavailable("down")
    breaker.refuse_if_down = refuse
    try:
        Tag.objects.count()
    except OperationalError:
        pass
    answer = [held, sorted(known.avoided), Tag.objects.all().db]
"""
    assert python(site, HEAD + code) == [["read_replica_1"] * 3, ["read_replica_1"], "default"]


def test_read_inside_a_transaction_goes_to_the_primary_and_those_after_it_stay_there(site: Site) -> None:
    code = """
with routing_state(is_request=True) as known:
    with transaction.atomic():
        within = Tag.objects.all().db
    after = Tag.objects.all().db
answer = [within, after, list(reached(known))]
"""
    assert python(site, HEAD + code) == ["default", "default", ["blog"]]


def test_task_waits_for_the_position_that_a_request_hands_to_it(postgres: Postgres, site: Site) -> None:
    code = """
from django.db.transaction import TransactionManagementError
with routing_state(is_request=True):
    Tag.objects.create(name="Task", slug="task")
    text = position()
    try:
        with transaction.atomic():
            position()
    except TransactionManagementError as error:
        refused = str(error)
with at_least(text):
    behind = [Tag.objects.all().db, Tag.objects.filter(slug="task").exists()]
with allow_replicas():
    careless = [Tag.objects.all().db, Tag.objects.filter(slug="task").exists()]
answer = [behind, careless, refused, position() == position()]
"""
    with paused(postgres):
        behind, careless, refused, _ = python(site, HEAD + code)
    assert behind == ["default", True]
    assert careless == ["read_replica_1", False]
    assert refused.startswith("position() was called inside a transaction on default, before there is a commit")


def test_task_in_a_process_that_has_not_looked_at_any_database_yet_is_given_a_replica(
    postgres: Postgres, site: Site
) -> None:
    required = python(site, HEAD + "answer = position()")
    postgres.catch_up()
    code = f"""
with at_least({required!r}):
    answer = Post.objects.all().db
"""
    assert python(site, HEAD.replace("snapshot(timeout=2)", "") + code) == "read_replica_1"


def test_primary_that_does_not_say_how_far_it_is_binds_for_a_while(site: Site) -> None:
    code = """
with routing_state(is_request=True) as known:
    Tag.objects.filter(slug="none").update(name="x")
    connections["default"].close()
    connections["default"].settings_dict["PORT"] = 1
    connections["default"].close_pool()
    found = reached(known)
answer = [found["blog"].is_moment, str(found["blog"])]
"""
    assert python(site, HEAD + code) == [True, "a moment ago"]


def test_asynchronous_commits_of_a_primary_with_replicas_are_warned_of(site: Site) -> None:
    said = site.manage("check", "--database", "default", "--database", "users_db", "--database", "analytics_db")
    assert "routers.W004" not in said
    url = f"{site.env['DATABASE_URL']}?options=-c%20synchronous_commit%3Doff"
    careless = Site(site.var, env=site.env | {"DATABASE_URL": url, "ANALYTICS_DATABASE_URL": url})
    said = careless.manage("check", "--database", "default", "--database", "users_db", "--database", "analytics_db")
    assert "(routers.W004) synchronous_commit is off for default, so its visitors' positions" in said
    assert said.count("W004") == 1, "a cluster without replicas has no positions"
    gone = Site(site.var, env=site.env | {"DATABASE_URL": "postgres://app:pw@127.0.0.1:1/blog"})
    assert "W004" not in gone.manage("check", "--database", "default")
