"""An answer that was given before is given again without being decided anew, and never when it no longer holds."""

import threading
from collections.abc import Iterator
from contextvars import copy_context
from functools import partial

import pytest
from django.db import OperationalError, ProgrammingError, connections, router
from pytest_django import Settings

from apps.blog.models import Post, Tag
from routers import noting
from routers.scopes import at_least, using_primary
from routers.state import RoutingState, routing_state
from routers.topology import Cluster

REPLICA, PRIMARY = "read_replica_1", "default"
CLUSTERS = (Cluster("blog", primary=PRIMARY, apps=("blog",), replicas=(REPLICA,)),)


@pytest.fixture
def known(settings: Settings) -> Iterator[RoutingState]:
    """A request whose reads of Post are settled."""
    settings.SHARED_APPS = {}
    settings.CLUSTERS = CLUSTERS
    with routing_state(is_request=True) as state:
        assert [router.db_for_read(Post) for _ in range(3)] == [REPLICA] * 3
        assert Post in state.settled
        yield state


def reason(known: RoutingState) -> str:
    alias = router.db_for_read(Post)
    return (known.reason_for(alias, "blog_post") or "").partition(":")[0]


def test_settled_read_keeps_the_reason_that_it_had(known: RoutingState) -> None:
    assert [reason(known) for _ in range(2)] == ["sticky", "sticky"]


def test_open_transaction_goes_before_it(known: RoutingState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections[PRIMARY], "in_atomic_block", True)
    assert (router.db_for_read(Post), reason(known)) == (PRIMARY, "transaction")


def test_after_a_read_of_the_primary_the_other_models_are_read_there_too(
    known: RoutingState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections[PRIMARY], "in_atomic_block", True)
    assert router.db_for_read(Tag) == PRIMARY
    monkeypatch.undo()
    assert (router.db_for_read(Post), reason(known)) == (PRIMARY, "sticky")


def test_other_threads_transaction_goes_before_it(known: RoutingState, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def work() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connections[PRIMARY], "in_atomic_block", True)
            found.append(router.db_for_read(Post))

    # As an async view's threads do, it works in the context of the request.
    thread = threading.Thread(target=partial(copy_context().run, work))
    thread.start()
    thread.join()
    assert found == [PRIMARY]


def test_write_goes_before_it_and_is_settled_in_its_place(known: RoutingState) -> None:
    assert router.db_for_write(Tag) == PRIMARY
    assert [(router.db_for_read(Post), reason(known)) for _ in range(2)] == [(PRIMARY, "wrote")] * 2
    assert known.settled[Post][0] == PRIMARY


def test_failure_goes_before_it(known: RoutingState) -> None:
    noting.note_failure(connections[REPLICA], OperationalError("the connection is lost"))
    assert (router.db_for_read(Post), reason(known)) == (PRIMARY, "sticky")


def test_mistake_of_ours_on_a_replica_says_nothing_about_it(known: RoutingState) -> None:
    noting.note_failure(connections[REPLICA], ProgrammingError("no such column"))
    assert (router.db_for_read(Post), known.failures) == (REPLICA, 0)


def test_row_that_came_from_the_primary_has_what_hangs_on_it_read_there(known: RoutingState) -> None:
    post = Post(pk=1)
    post._state.db = REPLICA
    assert router.db_for_read(Post, instance=post) == REPLICA
    post._state.db = PRIMARY
    assert [router.db_for_read(Tag, instance=post), router.db_for_read(Post)] == [PRIMARY] * 2


def test_primary_is_given_a_second_connection_before_it_counts_as_gone(known: RoutingState) -> None:
    lost = OperationalError("the connection is lost")
    noting.note_failure(connections[PRIMARY], lost)
    assert (known.avoided, known.failures) == (set(), 1)
    noting.note_failure(connections[PRIMARY], lost)
    assert (known.avoided, known.failures) == ({PRIMARY}, 2)


def test_connection_that_is_lost_inside_a_transaction_is_left_to_its_end(
    known: RoutingState, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(connections[PRIMARY], "close", lambda: closed.append(PRIMARY))
    lost = OperationalError("the connection is lost")
    with monkeypatch.context() as inside:
        inside.setattr(connections[PRIMARY], "in_atomic_block", True)
        noting.note_failure(connections[PRIMARY], lost)
    assert closed == []
    noting.note_failure(connections[PRIMARY], lost)
    assert closed == [PRIMARY]


def test_primary_whose_pool_is_exhausted_is_gone_only_if_it_is_down(
    known: RoutingState, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = OperationalError("couldn't get a connection after 0.50 sec")
    waited.__cause__ = type("PoolTimeout", (Exception,), {})()
    for _ in range(2):
        noting.note_failure(connections[PRIMARY], waited)
        assert (known.avoided, known.failures) == (set(), 1)
    monkeypatch.setattr(noting, "is_down", {PRIMARY}.__contains__)
    noting.note_failure(connections[PRIMARY], waited)
    assert known.avoided == {PRIMARY}


def test_primary_that_refuses_a_statement_is_not_gone(known: RoutingState) -> None:
    refused = OperationalError("lock timeout")
    refused.__cause__ = type("LockNotAvailable", (Exception,), {"sqlstate": "55P03"})()
    for error in (refused, ProgrammingError("no such column")):
        noting.note_failure(connections[PRIMARY], error)
    assert known.failures == 0


def test_answer_is_not_settled_when_something_was_marked_meanwhile(known: RoutingState) -> None:
    marks = known.marks
    known.mark(known.written, "blog")
    known.settle(Post, REPLICA, connections[PRIMARY], marks=marks)
    assert Post not in known.settled


def test_scope_goes_before_it_and_nothing_is_settled_from_then_on(known: RoutingState) -> None:
    with using_primary():
        assert (router.db_for_read(Post), reason(known)) == (PRIMARY, "asked")
    assert [router.db_for_read(Post) for _ in range(3)] == [PRIMARY] * 3
    assert known.settled == {}


def test_position_that_is_required_goes_before_it(known: RoutingState) -> None:
    with at_least(""):
        assert known.settled == {}


def test_second_attempt_decides_anew(known: RoutingState) -> None:
    known.start_again()
    assert (router.db_for_read(Post), reason(known)) == (REPLICA, "sticky")
