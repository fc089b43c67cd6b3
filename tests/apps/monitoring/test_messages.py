"""What waits in the outboxes, wherever the state of the databases is shown."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags
from pytest_django import Settings

from apps.monitoring.messages import Messages, senders
from apps.monitoring.probes import Status, probe_all
from apps.monitoring.views import readiness
from apps.outbox.models import Message
from apps.outbox.selectors import Backlog
from routers.health import Health
from routers.topology import Cluster
from tests.apps.monitoring.conftest import Lab

SOURCE = "users_db"
OUTBOXES = ["default", "users_db", "analytics_db", "cache_db"]
DAY = 86400.0
# They are looked at over other connections than the test's.
with_outboxes = pytest.mark.django_db(databases=OUTBOXES, transaction=True)


def publish(*, waiting: int = 0, dead: int = 0, seconds_ago: float = 0) -> None:
    """So many messages, as if they were there for so long."""
    now = timezone.now()
    created_at = now - timedelta(seconds=seconds_ago)
    alive = [Message(topic="t", handler="h", payload={}, created_at=created_at) for _ in range(waiting)]
    failed = {"attempts": 10, "due_at": now, "dead_at": now}
    given_up = [Message(topic="t", handler="h", payload={}, **failed) for _ in range(dead)]
    Message.objects.using(SOURCE).bulk_create([*alive, *given_up])


def seen(messages: Messages | None, *, state: str = "up") -> Status:
    """A database that the main pages need, as it was seen."""
    cluster = Cluster(name="people", primary="people", apps=("users",))
    return Status(cluster=cluster, health=Health(alias="people", state=state), messages=messages)


def page(client: Client) -> str:
    """The words of the section about messages."""
    html = client.get("/databases/").content.decode()
    return " ".join(strip_tags(html.partition('id="messages"')[2].partition("</table>")[0]).split())


@pytest.mark.parametrize(
    ("backlog", "text", "remark"),
    [
        (Backlog(), "unknown", ""),
        (Backlog(0, None, 0), "none", ""),
        (Backlog(1200, 12.9, 0), "1,200 for 0:00:12", ""),
        (Backlog(1, 300, 0), "1 for 0:05:00", ""),
        (Backlog(1, 301, 0), "1 for 0:05:01", "messages are late"),
        (Backlog(0, None, 1), "none, 1 dead", "1 dead letter"),
        (Backlog(3, 2 * DAY, 2), "3 for 2 days, 0:00:00, 2 dead", "2 dead letters, messages are late"),
    ],
    ids=["unknown", "none", "waiting", "just in time", "late", "dead", "both"],
)
def test_in_words(backlog: Backlog, text: str, remark: str) -> None:
    assert (str(Messages(backlog)), Messages(backlog).remark) == (text, remark)
    assert seen(Messages(backlog)).remark == remark


@pytest.mark.parametrize(
    ("backlog", "state", "status"),
    [
        (Backlog(1000, 299, 0), "up", "ok"),
        (Backlog(1, 301, 0), "up", "degraded"),
        (Backlog(0, None, 1), "up", "degraded"),
        (Backlog(), "up", "ok"),
        (Backlog(), "down", "down"),
    ],
    ids=["waiting", "late", "dead", "unknown", "database down"],
)
def test_messages_make_the_site_degraded_and_never_down(
    backlog: Backlog, state: str, status: str, settings: Settings
) -> None:
    settings.CLUSTERS, settings.SHARED_APPS = (Cluster("people", primary="people", apps=("users",)),), {}
    settings.READINESS_APPS = ["users"]
    assert readiness([seen(Messages(backlog), state=state)]) == status


def test_how_old_is_late_is_a_setting(settings: Settings) -> None:
    settings.OUTBOX_LATE_SECONDS = 10
    assert Messages(Backlog(1, 11, 0)).remark == "messages are late"


@with_outboxes
def test_each_database_that_sends_messages_has_a_backlog_and_no_other() -> None:
    publish(waiting=2, dead=1, seconds_ago=60)
    found = {status.alias: status.messages for status in probe_all(facts_timeout=5)}
    assert [alias for alias, messages in found.items() if messages] == OUTBOXES
    assert found["default"] == Messages(Backlog(0, None, 0))
    users = found[SOURCE]
    assert users
    assert users.as_dict() == {"waiting": 2, "oldest_seconds": pytest.approx(60, abs=30), "dead": 1}


@with_outboxes
@pytest.mark.usefixtures("own_urls")
def test_page_has_a_row_for_each_outbox(client: Client) -> None:
    publish(waiting=2, dead=1, seconds_ago=2 * DAY)
    assert "default in time 0 – 0 users_db 1 dead letter, messages are late 2 2 days, 0:00:" in page(client)


@pytest.mark.usefixtures("own_urls")
def test_page_says_why_an_outbox_is_not_counted(client: Client, lab: Lab) -> None:
    lab.cluster("gone", lab.folder / "none.sqlite3")
    lab.cluster("empty", lab.file("empty", item=3))
    lab.settings.SHARED_APPS = {"outbox": ["gone", "empty"]}
    assert page(client).endswith("gone Not counted: it is down. empty Not counted: it did not tell.")


@pytest.mark.usefixtures("own_urls")
def test_page_has_no_section_where_no_messages_are_sent(client: Client, lab: Lab) -> None:
    lab.cluster("shop", lab.file("shop", item=3))
    assert page(client) == ""


def test_engine_that_cannot_be_loaded_is_a_row_and_not_a_crash(lab: Lab) -> None:
    lab.cluster("shop", "x", ENGINE="django.db.backends.nothing")
    lab.settings.SHARED_APPS = {"outbox": ["shop"]}
    assert senders() == ()
    assert [(status.state, status.messages) for status in probe_all()] == [("down", None)]


@with_outboxes
@pytest.mark.usefixtures("own_urls")
def test_readyz_tells_how_many_wait_only_whom_it_concerns(client: Client, settings: Settings) -> None:
    publish(dead=1)
    told = client.get("/readyz").json()
    assert told["status"] == "degraded"
    assert told["databases"][SOURCE]["messages"] == {"waiting": 0, "oldest_seconds": None, "dead": 1}
    assert told["databases"][SOURCE]["remark"] == "1 dead letter"
    assert told["databases"]["read_replica_1"]["messages"] is None
    settings.DEMO = settings.DEBUG = False
    assert client.get("/readyz", secure=True).json() == {"status": "degraded"}


def dbstatus(*args: str) -> str:
    out = StringIO()
    call_command("dbstatus", *args, stdout=out)
    return out.getvalue()


@with_outboxes
def test_dbstatus_shows_what_waits() -> None:
    publish(waiting=2, dead=1, seconds_ago=2 * DAY)
    rows = {line.split()[0]: line for line in dbstatus().splitlines()}
    assert "  messages: 2 for 2 days, 0:00:" in rows[SOURCE]
    assert rows[SOURCE].endswith("1 dead letter, messages are late")
    assert "  messages: none  " in rows["default"]
    assert "messages" not in rows["read_replica_1"]


@with_outboxes
def test_dbstatus_as_json_has_the_numbers() -> None:
    publish(dead=3)
    found = {row["alias"]: row["messages"] for row in json.loads(dbstatus("--json"))}
    assert found[SOURCE] == {"waiting": 0, "oldest_seconds": None, "dead": 3}
    assert found["read_replica_1"] is None
