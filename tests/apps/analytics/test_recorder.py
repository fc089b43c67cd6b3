"""From a call to the outbox of the local database, and from there to analytics."""

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from apps.analytics import recorder as module
from apps.analytics import services
from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.analytics.recorder import Recorder
from apps.outbox.models import Message
from apps.outbox.relay import BATCH, Relay
from routers.guards import SecondDatabaseWritten
from routers.state import routing_state
from tests.apps.analytics.conftest import broken, deliver

pytestmark = pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "cache_db"])


def messages() -> list[dict[str, Any]]:
    return list(Message.objects.using("cache_db").order_by("pk").values_list("payload", flat=True))


def test_event_waits_in_the_local_database_and_analytics_is_not_asked() -> None:
    with CaptureQueriesContext(connections["analytics_db"]) as asked:
        assert services.record_event(event_type="test", user_id=1, session_id="s", data={"number": 1})
    assert len(asked) == 0
    (payload,) = messages()
    assert payload.pop("timestamp")
    assert payload == {"event_type": "test", "user_id": 1, "session_id": "s", "data": {"number": 1}}


def test_recording_is_one_insert() -> None:
    with CaptureQueriesContext(connections["cache_db"]) as asked:
        services.record_event(event_type="test")
    verbs = [query["sql"].split()[0] for query in asked]
    assert [verb for verb in verbs if verb not in ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")] == ["INSERT"]


@pytest.mark.django_db(databases="__all__")
def test_event_is_written_to_analytics_db_and_to_no_other() -> None:
    services.record_event(event_type="page_view", user_id=1, data={"path": "/"})
    deliver()
    assert AnalyticsEvent.objects.using("analytics_db").count() == 1
    assert UserActivity.objects.using("analytics_db").count() == 1
    for alias in set(connections) - {"analytics_db"}:
        tables = connections[alias].introspection.table_names()
        assert not {AnalyticsEvent._meta.db_table, UserActivity._meta.db_table} & set(tables)


def test_event_is_written_once_however_often_the_relay_comes_round() -> None:
    services.record_event(event_type="test")
    deliver()
    deliver()
    Message.objects.using("cache_db").update(done_at=None)
    deliver()
    assert AnalyticsEvent.objects.count() == 1


def test_event_carries_the_time_it_happened_not_the_time_it_was_written() -> None:
    before = datetime.now(UTC)
    services.record_event(event_type="test")
    recorded = datetime.now(UTC)
    deliver()
    assert before <= AnalyticsEvent.objects.get().timestamp <= recorded


def test_batch_takes_the_same_statements_whatever_its_size() -> None:
    def statements(number: int) -> int:
        for user_id in range(number):
            services.record_event(event_type="page_view", user_id=user_id, data={"path": "/"})
        with CaptureQueriesContext(connections["analytics_db"]) as asked:
            deliver()
        sent = [query["sql"] for query in asked]
        return len([sql for sql in sent if sql.startswith(("SELECT", "INSERT")) and "pg_advisory" not in sql])

    assert statements(2) == statements(BATCH) == 5  # receipts that are there, new ones, the gone, events, activity
    assert AnalyticsEvent.objects.count() == BATCH + 2
    assert UserActivity.objects.count() == BATCH  # a user_id of 0 is nobody's


def test_only_views_of_somebody_signed_in_are_activity_and_at_the_time_of_the_view() -> None:
    services.record_event(event_type="page_view", data={"path": "/"})
    services.record_event(event_type="search", user_id=1, data={"path": "/"})
    services.record_event(event_type="page_view", user_id=2, data={"path": "/blog/"})
    deliver()
    viewed = AnalyticsEvent.objects.get(user_id=2)
    activity = UserActivity.objects.get()
    assert (activity.user_id, activity.page_viewed, activity.timestamp) == (2, "/blog/", viewed.timestamp)


def test_event_that_the_database_refuses_holds_up_no_other() -> None:
    services.record_event(event_type="test", data={"number": 1})
    services.record_event(event_type="test", user_id=2**70)
    services.record_event(event_type="test", data={"number": 2})
    drained = Relay("cache_db").drain()
    assert (drained.delivered, drained.failed) == (2, 1)
    assert {event.data["number"] for event in AnalyticsEvent.objects.all()} == {1, 2}


def test_data_that_is_not_json_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        services.record_event(event_type="test", data={"now": datetime.now(UTC)})


def test_recording_inside_a_transaction_on_another_database_is_the_callers_mistake() -> None:
    with pytest.raises(SecondDatabaseWritten), transaction.atomic(using="default"):
        services.record_event(event_type="test")


def test_recording_on_a_safe_request_is_allowed() -> None:
    with routing_state(is_request=True, is_safe=True):
        assert services.record_event(event_type="test")


def test_event_that_the_local_database_does_not_take_is_counted_and_logged_once(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0)
    with broken("cache_db"):
        assert [services.record_event(event_type="test") for _ in range(3)] == [False] * 3
    assert recorder.lost == 3
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "Events are lost until cache_db can be written (OperationalError).")
    ]
    assert messages() == []


def test_recovery_is_logged_with_what_was_lost(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0)
    with broken("cache_db"):
        services.record_event(event_type="test")
        services.record_event(event_type="test")
    caplog.clear()
    assert services.record_event(event_type="test")
    assert services.record_event(event_type="test")
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "Events are recorded again; 2 were lost.")
    ]
    assert recorder.lost == 0
    assert len(messages()) == 2


def test_database_that_has_just_failed_is_left_alone_for_a_while(recorder: Recorder) -> None:
    with broken("cache_db") as asked:
        services.record_event(event_type="test")
        before = len(asked)
        assert not services.record_event(event_type="test")
        assert len(asked) == before
    assert recorder.lost == 2
    assert not services.record_event(event_type="test")
    recorder._paused_until -= module.PAUSE
    assert services.record_event(event_type="test")
