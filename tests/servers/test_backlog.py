"""What monitoring makes of an outbox on a server that answers, but not to questions about messages."""

import time
from collections.abc import Iterator

import pytest
from django.db import connections
from django.test import Client

from apps.monitoring.probes import probe_all
from apps.outbox.models import Message
from tests.servers.processes import Postgres
from tests.servers.test_health import Watched, watched

__all__ = ["watched"]


@pytest.fixture
def outbox(watched: Watched, postgres: Postgres) -> Iterator[Postgres]:
    """An empty one in a database of its own, alone in the topology; behind the alias `shop`."""
    watched.server("shop", postgres.url(postgres.create_database("shop_with_outbox")))
    watched.settings.SHARED_APPS = {"outbox": ["shop"]}
    with connections["shop"].schema_editor() as editor:
        editor.create_model(Message)
    yield postgres
    connections["shop"].close()


def counted() -> object:
    (status,) = probe_all(facts_timeout=5)
    return status.messages and status.messages.as_dict()


def seconds_of_readyz() -> float:
    began = time.monotonic()
    answer = Client().get("/readyz", headers={"host": "10.0.0.7"})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    return time.monotonic() - began


def test_readyz_answers_within_a_second_while_an_outbox_is_locked(outbox: Postgres) -> None:
    """The best of three: the machine may be busy with something else."""
    assert counted() == {"waiting": 0, "oldest_seconds": None, "dead": 0}
    with outbox.connect("shop_with_outbox") as locker, locker.transaction():
        locker.execute("LOCK TABLE outbox_message IN ACCESS EXCLUSIVE MODE")
        assert min(seconds_of_readyz() for _ in range(3)) < 1
        assert counted() == {"waiting": None, "oldest_seconds": None, "dead": None}
    assert counted() == {"waiting": 0, "oldest_seconds": None, "dead": 0}
