"""Which alias a read gets, and the reason that it carries."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connections, router
from pytest_django import Settings

from apps.analytics.models import AnalyticsEvent
from apps.blog.models import Post
from apps.users.models import User
from routers import read_write_split
from routers.checks import check_commits
from routers.health import DOWN, PRIMARY, REPLICA, UP, Health
from routers.positions import UNKNOWN, Position, dumps
from routers.promises import outstanding, reached
from routers.scopes import allow_replicas, at_least, required_here, scope, using_primary
from routers.state import RoutingState, routing_state
from routers.topology import Cluster

BLOG = Cluster("blog", primary="default", apps=("blog",), replicas=("read_replica_1", "read_replica_2"))
USERS = Cluster("users", primary="users_db", apps=("users",), replicas=("users_replica_1",))
ANALYTICS = Cluster("analytics", primary="analytics_db", apps=("analytics",))
Seen = dict[str, Health]


@pytest.fixture
def seen(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What the prober knows: two replicas of the blog on timeline 1, both at 100, and a primary."""
    settings.SHARED_APPS = {}
    settings.CLUSTERS = (BLOG, USERS, ANALYTICS)
    found = {
        alias: Health(alias=alias, state=UP, role=REPLICA, timeline=1, replayed=100)
        for alias in ("read_replica_1", "read_replica_2", "users_replica_1")
    }
    found["default"] = Health(alias="default", state=UP, role=PRIMARY, timeline=1, flushed=100)
    monkeypatch.setattr(read_write_split, "health", lambda alias: found.get(alias, Health(alias=alias)))
    monkeypatch.setattr(read_write_split, "is_down", lambda alias: alias in found and found[alias].state == DOWN)
    return found


@pytest.fixture
def known(seen: Seen) -> Iterator[RoutingState]:
    with routing_state(is_request=True) as state:
        yield state


def reason(known: RoutingState, model: Any = Post) -> tuple[str, str]:
    """The alias that a read of the model gets, and the first word of why."""
    alias = router.db_for_read(model)
    why = known.reason_for(alias, model._meta.db_table) or ""
    return alias, why.partition(":")[0]


def test_read_in_a_request_goes_to_a_replica_and_stays_with_it(known: RoutingState) -> None:
    first, why = reason(known)
    assert (first in BLOG.replicas, why) == (True, "replica")
    assert {reason(known) for _ in range(20)} == {(first, "sticky")}


def test_cluster_without_replicas_is_left_to_the_central_router(known: RoutingState) -> None:
    assert reason(known, AnalyticsEvent) == ("analytics_db", "app")


def test_outside_a_request_reads_go_to_the_primary(seen: Seen) -> None:
    assert router.db_for_read(Post) == "default"
    with routing_state():  # of a task
        assert router.db_for_read(Post) == "default"


def test_after_a_write_was_routed_reads_go_to_the_primary_of_that_cluster_only(known: RoutingState) -> None:
    assert router.db_for_write(Post) == "default"
    assert reason(known) == ("default", "wrote")
    assert reason(known, User) == ("users_replica_1", "replica")


def test_once_read_from_the_primary_a_request_stays_there(known: RoutingState) -> None:
    with using_primary():
        assert reason(known) == ("default", "asked")
    assert reason(known) == ("default", "sticky"), "time would go backwards"


def test_replica_that_has_reached_the_position_is_taken(known: RoutingState, seen: Seen) -> None:
    seen["read_replica_2"] = replace(seen["read_replica_2"], replayed=500)
    known.required = {"blog": Position(1, 400)}
    assert reason(known) == ("read_replica_2", "replica")


def test_replica_it_reads_from_is_left_for_the_primary_when_more_is_required(known: RoutingState, seen: Seen) -> None:
    known.replicas["blog"] = "read_replica_1"
    seen["read_replica_1"] = replace(seen["read_replica_1"], timeline=None)
    seen["read_replica_2"] = replace(seen["read_replica_2"], replayed=500)
    known.required = {"blog": Position(1, 400)}
    assert reason(known) == ("default", "catching up"), "the other replica may be behind what this one has shown"


@pytest.mark.parametrize("position", [Position(2, 50), Position(UNKNOWN, 2**62)])
def test_position_that_no_replica_can_know_leads_to_the_primary(known: RoutingState, position: Position) -> None:
    known.required = {"blog": position}
    assert reason(known) == ("default", "catching up")


def test_moment_binds_to_the_primary_for_a_while(known: RoutingState, settings: Settings) -> None:
    known.required = {"blog": Position.now()}
    assert reason(known) == ("default", "catching up")
    settings.READ_YOUR_WRITES_SECONDS = 0
    with routing_state(is_request=True, required=known.required) as later:
        assert reason(later)[1] == "replica"


@pytest.mark.parametrize(
    "ill", [{"state": DOWN}, {"role": PRIMARY}, {"lag_seconds": 31.0}], ids=["down", "promoted", "late"]
)
def test_replica_that_is_not_fit_is_out_of_rotation(known: RoutingState, seen: Seen, ill: dict[str, Any]) -> None:
    seen["read_replica_1"] = replace(seen["read_replica_1"], **ill)
    assert reason(known) == ("read_replica_2", "replica")


def test_replica_that_falls_out_of_rotation_meanwhile_is_left_for_the_primary(known: RoutingState, seen: Seen) -> None:
    held, _ = reason(known)
    seen[held] = replace(seen[held], lag_seconds=31.0)
    assert reason(known) == ("default", "no replica"), "the other one may be behind what this one has shown"


def test_primary_among_the_replicas_keeps_no_position_alive(seen: Seen) -> None:
    seen["read_replica_1"] = replace(seen["default"], alias="read_replica_1", flushed=100)
    assert outstanding({"blog": Position(1, 100)}) == {}
    assert outstanding({"blog": Position(1, 101)}) == {"blog": Position(1, 101)}


def test_position_in_a_log_that_is_no_more_ends_with_what_the_primary_says(
    known: RoutingState, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.required = {"blog": Position(5, 10**12), "users": Position(1, 7)}
    known.read_primary = {"blog"}
    monkeypatch.setattr("routers.promises._of_primary", lambda alias, *, wrote: Position(1, 200))
    assert reached(known) == {"blog": Position(1, 200), "users": Position(1, 7)}


def test_without_a_fit_replica_the_primary_answers(known: RoutingState, seen: Seen) -> None:
    known.avoided = {"read_replica_1"}
    seen["read_replica_2"] = replace(seen["read_replica_2"], state=DOWN)
    assert reason(known) == ("default", "no replica")


def test_primary_that_is_gone_leaves_the_furthest_replica_and_it_says_so(known: RoutingState, seen: Seen) -> None:
    known.required = {"blog": Position(2, 50)}
    seen["default"] = replace(seen["default"], state=DOWN)
    seen["read_replica_2"] = replace(seen["read_replica_2"], replayed=500)
    assert reason(known) == ("read_replica_2", "stale")
    assert known.stale == {"blog"}


def test_primary_that_is_gone_leaves_a_replica_that_is_out_of_rotation_to_a_new_visitor(
    known: RoutingState, seen: Seen
) -> None:
    for alias in BLOG.aliases:
        seen[alias] = replace(seen[alias], state=DOWN)
    seen["read_replica_1"] = replace(seen["read_replica_1"], state=UP, lag_seconds=1000.0)
    assert reason(known) == ("read_replica_1", "stale")


def test_replica_without_a_log_has_no_position(known: RoutingState) -> None:
    known.replicas["blog"] = "read_replica_1"
    assert reached(known) == {}


@pytest.mark.parametrize(("said", "timeline"), [((70,), 1), (None, UNKNOWN)])
def test_replica_with_a_log_says_how_far_it_is_or_binds_to_the_primary(
    known: RoutingState, seen: Seen, monkeypatch: pytest.MonkeyPatch, said: tuple[int] | None, timeline: int
) -> None:
    known.replicas["blog"] = "read_replica_1"
    monkeypatch.setattr(connections["read_replica_1"], "vendor", "postgresql")
    monkeypatch.setattr("routers.promises.health", seen.__getitem__)
    monkeypatch.setattr("routers.promises._ask", lambda alias, sql: said)
    assert reached(known)["blog"].timeline == timeline


def test_engine_without_a_log_cannot_commit_before_it(seen: Seen) -> None:
    assert check_commits(databases=["default"]) == []


def test_round_robin_takes_turns_also_between_threads(seen: Seen, settings: Settings) -> None:
    settings.REPLICA_STRATEGY = "round robin"
    taken: list[str] = []

    def work() -> None:
        for _ in range(50):
            with routing_state(is_request=True):
                taken.append(router.db_for_read(Post))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [taken.count(alias) for alias in BLOG.replicas] == [100, 100]


def test_task_that_allows_replicas_reads_from_one(seen: Seen) -> None:
    @allow_replicas()
    def task() -> str:
        return router.db_for_read(Post)

    assert task() in BLOG.replicas
    assert router.db_for_read(Post) == "default"


def test_scopes_nest(seen: Seen) -> None:
    found = []
    with allow_replicas():
        found.append(router.db_for_read(User))
        with using_primary():
            found.append(router.db_for_read(User))
    with allow_replicas():
        found.append(router.db_for_read(User))
    assert found == ["users_replica_1", "users_db", "users_replica_1"]


def test_scope_decorates_a_coroutine_function(seen: Seen) -> None:
    @allow_replicas()
    async def task() -> str:
        await asyncio.sleep(0)
        return router.db_for_read(User)

    @using_primary()
    async def strict() -> str:
        await asyncio.sleep(0)
        return router.db_for_read(User)

    async def both() -> list[str]:
        with routing_state(is_request=True):
            return [await strict(), await task()]

    assert asyncio.run(task()) == "users_replica_1"
    assert asyncio.run(both()) == ["users_db", "users_db"], "the second is in the same request"


def test_coroutines_that_run_at_once_are_each_bound_to_what_they_asked_for(known: RoutingState, seen: Seen) -> None:
    known.required = before = {"blog": Position(1, 7)}

    async def bound(to: int, entered: asyncio.Event, leave: asyncio.Event) -> Position:
        with at_least(dumps({"blog": Position(1, to)})):
            entered.set()
            await leave.wait()
            return required_here(known)["blog"]

    async def both() -> tuple[Position, Position]:
        one, other = asyncio.Event(), asyncio.Event()
        # The first one to enter is the first one to leave.
        first, second = await asyncio.gather(bound(60, one, other), bound(1000, other, one))
        return first, second

    assert asyncio.run(both()) == (Position(1, 60), Position(1, 1000))
    assert required_here(known) == before


def test_async_view_that_cannot_wait_for_a_replica_reads_from_the_primary(known: RoutingState) -> None:
    known.required = {"blog": Position(1, 400)}

    async def view() -> tuple[str, str]:
        return reason(known)

    assert asyncio.run(view()) == ("default", "catching up")


def test_scope_may_be_entered_by_two_threads_at_once(seen: Seen) -> None:
    both, found = threading.Barrier(2, timeout=10), []
    scope_of_both = using_primary()

    def work() -> None:
        with scope_of_both:
            both.wait()
        found.append(scope())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [None, None]


def test_scope_refuses_to_decorate_a_generator_function(seen: Seen) -> None:
    with pytest.raises(TypeError, match=r"rows is a generator function. Write the scope as a `with` inside it"):

        @using_primary()
        def rows() -> Iterator[int]:
            yield 1


def test_empty_position_binds_nobody(seen: Seen) -> None:
    with at_least(dumps({})):
        assert router.db_for_read(Post) in BLOG.replicas


def test_what_was_written_to_a_primary_that_is_gone_is_read_from_a_replica_as_stale(
    known: RoutingState, seen: Seen
) -> None:
    known.mark(known.written, "blog")
    seen["default"] = replace(seen["default"], state=DOWN)
    assert reason(known) == (known.replicas["blog"], "stale")


def test_what_was_only_to_be_written_to_a_primary_that_is_gone_binds_to_nothing(
    known: RoutingState, seen: Seen
) -> None:
    router.db_for_write(Post)
    seen["default"] = replace(seen["default"], state=DOWN)
    assert reason(known)[1] == "replica"


def test_task_reads_from_what_has_reached_the_position_it_was_given(seen: Seen) -> None:
    with at_least(dumps({"blog": Position(1, 100)})):
        assert router.db_for_read(Post) in BLOG.replicas
    with at_least(dumps({"blog": Position(2, 100)})):
        assert router.db_for_read(Post) == "default"


@pytest.mark.parametrize("text", ["forged", "eyJhIjoxfQ:1:2"])
def test_position_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"position\(\) has not made this text"):
        at_least(text)


def test_state_of_a_task_is_its_own(seen: Seen) -> None:
    def in_thread(found: list[str]) -> None:
        found.append(router.db_for_read(Post))

    found: list[Any] = []
    with routing_state(is_request=True):
        thread = threading.Thread(target=in_thread, args=[found])
        thread.start()
        thread.join()
    assert found == ["default"]
