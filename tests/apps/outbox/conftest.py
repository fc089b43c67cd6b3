"""A topic of the tests' own, and handlers that leave an effect where their receipts are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import F

from apps.cache.models import CacheEntry
from apps.outbox import registry
from apps.outbox.models import Message
from apps.outbox.publishing import publish
from apps.outbox.registry import declare_topic, handler
from apps.outbox.relay import Drained, Relay

SOURCE, DESTINATION = "users_db", "cache_db"


@pytest.fixture(autouse=True)
def only_what_a_test_declares() -> Iterator[None]:
    """It is gone after the test."""
    topics, handlers = set(registry.topics), dict(registry.handlers)
    registry.topics.clear()
    registry.handlers.clear()
    yield
    registry.topics.clear()
    registry.handlers.clear()
    registry.topics.update(topics)
    registry.handlers.update(handlers)


@dataclass
class Copying:
    """A handler that keeps each payload as an entry of the cache, unless it is told to fail on it."""

    topic: str
    name: str
    seen: list[Any] = field(default_factory=list)
    failing: dict[Any, Exception] = field(default_factory=dict)

    def __call__(self, payload: Any) -> None:
        self.seen.append(payload)
        CacheEntry.objects.create(key=f"{self.name} {payload}", value=payload, expires_at="2036-01-02T03:04:05Z")
        if payload in self.failing:
            raise self.failing[payload]

    @property
    def effects(self) -> list[Any]:
        entries = CacheEntry.objects.filter(key__startswith=f"{self.name} ").order_by("pk")
        return list(entries.values_list("value", flat=True))

    def publish(self, *payloads: Any, key: str = "") -> None:
        with transaction.atomic(using=SOURCE):
            for payload in payloads:
                publish(self.topic, payload, key=key, using=SOURCE)


Subscribe = Callable[..., Copying]


@pytest.fixture
def subscribe() -> Subscribe:
    def subscribe(topic: str = "things.said", name: str = "copy", destination: Any = CacheEntry) -> Copying:
        copying = Copying(declare_topic(topic), name)
        handler(topic, name=name, destination=destination)(copying)
        return copying

    return subscribe


@pytest.fixture
def copy(subscribe: Subscribe) -> Copying:
    return subscribe()


def drain() -> Drained:
    return Relay(SOURCE).drain()


def states() -> dict[Any, str]:
    """Payload to state, in order."""
    return {message.payload: message.state for message in Message.objects.using(SOURCE).order_by("pk")}


def let_time_pass(**time: float) -> None:
    """So that what waits for a later moment is due."""
    late = Message.objects.using(SOURCE).filter(due_at__isnull=False)
    late.update(due_at=F("due_at") - timedelta(**time))


@contextmanager
def refusing(alias: str) -> Iterator[None]:
    """A database that is there and refuses whatever it is asked, as one that is starting does."""

    def refuse(*args: Any) -> None:
        raise OperationalError("the database system is starting up")

    with connections[alias].execute_wrapper(refuse):
        yield


@contextmanager
def full(alias: str) -> Iterator[None]:
    """A SQLite file that may not grow: there is room in it for next to nothing, and everything can be read."""
    with connections[alias].cursor() as cursor:
        before, pages = (_pragma(cursor, name) for name in ("max_page_count", "page_count"))
        _pragma(cursor, f"max_page_count = {pages}")
        yield
        _pragma(cursor, f"max_page_count = {before}")


def _pragma(cursor: CursorWrapper, name: str) -> int:
    return int(cursor.execute(f"PRAGMA {name}").fetchone()[0])
