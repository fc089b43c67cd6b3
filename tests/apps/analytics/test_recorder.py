from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from apps.analytics import recorder as module
from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.analytics.recorder import Recorder

EVENTS = AnalyticsEvent._meta.db_table


def event(number: int = 0, **fields: object) -> AnalyticsEvent:
    return AnalyticsEvent(event_type="test", data={"number": number}, **fields)


def log_lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, getattr(record, "alias", "")) for record in caplog.records]


@contextmanager
def table_missing(table: str = EVENTS) -> Iterator[None]:
    with connections["analytics_db"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        yield
        cursor.execute(f"ALTER TABLE away RENAME TO {table}")


def test_recording_asks_no_database(own_recorder: Recorder) -> None:
    own_recorder.record(event())  # pytest-django would fail it
    assert own_recorder.waiting == 1


@pytest.mark.django_db(databases=["analytics_db"])
def test_nothing_is_written_before_flush_where_the_thread_is_off(own_recorder: Recorder) -> None:
    own_recorder.record(event())
    assert not AnalyticsEvent.objects.exists()
    assert own_recorder.flush()
    assert AnalyticsEvent.objects.count() == 1
    assert own_recorder.waiting == 0


@pytest.mark.django_db(databases=["analytics_db"])
def test_event_is_written_once_however_often_flush_is_called(own_recorder: Recorder) -> None:
    own_recorder.record(event())
    own_recorder.flush()
    own_recorder.flush()
    assert AnalyticsEvent.objects.count() == 1


@pytest.mark.django_db(databases="__all__")
def test_event_is_written_to_analytics_db_and_to_no_other(own_recorder: Recorder) -> None:
    own_recorder.record(event(), UserActivity(user_id=1, page_viewed="/"))
    own_recorder.flush()
    assert AnalyticsEvent.objects.using("analytics_db").count() == 1
    assert UserActivity.objects.using("analytics_db").count() == 1
    for alias in set(connections) - {"analytics_db"}:
        tables = connections[alias].introspection.table_names()
        assert EVENTS not in tables
        assert "user_activity" not in tables


@pytest.mark.django_db(databases=["analytics_db"])
def test_many_events_are_written_in_batches_and_in_order(
    own_recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    own_recorder.record(*(event(number) for number in range(25)))
    with CaptureQueriesContext(connections["analytics_db"]) as queries:
        own_recorder.flush()
    assert len([query for query in queries if query["sql"].startswith("INSERT")]) == 3
    assert [row.data["number"] for row in AnalyticsEvent.objects.order_by("id")] == list(range(25))


def test_full_queue_drops_the_oldest_and_says_so_once(
    own_recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LIMIT", 100)
    for number in range(130):
        own_recorder.record(event(number))
    assert own_recorder.waiting == 100
    assert own_recorder._queue[0].__dict__["data"] == {"number": 30}
    assert log_lines(caplog) == [("ERROR", "analytics_db")]


def test_queue_is_bounded_at_ten_thousand(own_recorder: Recorder) -> None:
    for number in range(10_050):
        own_recorder.record(event(number))
    assert own_recorder.waiting == 10_000


@pytest.mark.django_db(databases=["analytics_db"], transaction=True)
def test_broken_database_keeps_the_events_and_is_one_log_line(
    own_recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    own_recorder.record(*(event(number) for number in range(3)))
    with table_missing():
        assert not own_recorder.flush()
        assert not own_recorder.flush()
        assert own_recorder.in_outage
        assert own_recorder.waiting == 3
    assert log_lines(caplog) == [("ERROR", "analytics_db")]


@pytest.mark.django_db(databases=["analytics_db"], transaction=True)
def test_recovered_database_gets_what_waited_and_is_one_log_line(
    own_recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    own_recorder.record(event(1))
    with table_missing():
        own_recorder.flush()
    caplog.clear()
    own_recorder.record(event(2))
    assert own_recorder.flush()
    assert own_recorder.flush()
    assert [row.data["number"] for row in AnalyticsEvent.objects.order_by("id")] == [1, 2]
    assert log_lines(caplog) == [("WARNING", "analytics_db")]
    assert not own_recorder.in_outage


@pytest.mark.django_db(databases=["analytics_db"], transaction=True)
def test_row_keeps_no_key_from_an_attempt_that_was_rolled_back(own_recorder: Recorder) -> None:
    """It would be written with that key later, over another process's row."""
    own_recorder.record(event(), event(user_id=2**70))
    own_recorder.flush()
    other = AnalyticsEvent.objects.create(event_type="other process")
    own_recorder.record(event())
    own_recorder.flush()
    assert AnalyticsEvent.objects.get(pk=other.pk).event_type == "other process"
    assert AnalyticsEvent.objects.count() == 3


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"user_id": 2**70}, id="a number that SQLite cannot hold"),
        pytest.param({"user_id": "nobody"}, id="text for a number"),
        pytest.param({"data": {"value": float("nan")}}, id="a value that is not JSON"),
        pytest.param({"data": {"value": object()}}, id="a value that cannot be JSON"),
        pytest.param({"event_type": None}, id="NULL where none is allowed"),
    ],
)
@pytest.mark.django_db(databases=["analytics_db"], transaction=True)
def test_refused_row_is_dropped_and_the_rest_is_written(
    fields: dict[str, object], own_recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    poison = AnalyticsEvent(**{"event_type": "poison"} | fields)
    own_recorder.record(event(1), poison, event(2), UserActivity(user_id=1, page_viewed="/"))
    assert own_recorder.flush()
    assert [row.data["number"] for row in AnalyticsEvent.objects.order_by("id")] == [1, 2]
    assert UserActivity.objects.count() == 1
    assert own_recorder.waiting == 0
    assert log_lines(caplog) == [("ERROR", "analytics_db")]


@pytest.mark.django_db(databases=["analytics_db"], transaction=True)
def test_refused_row_alone_does_not_loop(own_recorder: Recorder) -> None:
    own_recorder.record(event(user_id=2**70))
    assert own_recorder.flush()
    assert own_recorder.waiting == 0
    assert not AnalyticsEvent.objects.exists()


@pytest.mark.django_db(databases=["analytics_db"], transaction=True)
def test_log_line_of_a_refused_row_does_not_quote_it(own_recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    own_recorder.record(event(session_id="private", user_id="secret"))
    own_recorder.flush()
    assert "secret" not in caplog.text
    assert "private" not in caplog.text
