"""What visitors are promised about reads on replicas, over HTTP: `make consistency`, briefly, with its controls."""

from collections.abc import Iterator
from functools import partial
from itertools import takewhile

import pytest

from tests.project.conftest import Site
from tests.servers.conftest import python, running
from tests.servers.consistency import REPLICAS, WRITES, make_site, visit
from tests.servers.consistency_site import OURS, VARIANTS
from tests.servers.processes import PostgresWithRoles

READS = 1_600
ROUNDS = 6  # a control goes wrong by chance only: when a replica is asked while it is behind


@pytest.fixture(scope="module")
def servers() -> Iterator[PostgresWithRoles]:
    yield from running(partial(PostgresWithRoles, standbys=len(REPLICAS)))


@pytest.fixture(scope="module")
def visited(servers: PostgresWithRoles, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(servers, tmp_path_factory.mktemp("visited"))


def test_visitors_see_what_they_wrote_and_never_less_than_before(servers: PostgresWithRoles, visited: Site) -> None:
    figures = visit(servers, visited, OURS, reads=READS)
    assert (figures.own, figures.backwards) == (0, 0), figures
    # Enough of each to say so. (On a machine that is too busy, a database may look as if it were down.)
    assert figures.reads > READS * 0.9, figures.refused
    assert figures.writes > READS * WRITES / 2, figures.refused
    assert figures.from_replicas > READS / 4, figures


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != OURS])
def test_harness_finds_what_a_control_breaks(servers: PostgresWithRoles, visited: Site, variant: str) -> None:
    rounds = (visit(servers, visited, variant, reads=READS, seed=seed) for seed in range(1, ROUNDS + 1))
    without = list(takewhile(lambda figures: figures.violations == 0, rounds))
    assert len(without) < ROUNDS, without


def test_replica_that_does_not_say_how_far_it_is_binds_to_the_primary_until_that_says_it(visited: Site) -> None:
    code = """
from django.contrib.sessions.models import Session
from routers.promises import reached
from routers.state import routing_state
with routing_state(is_request=True) as known:  # in a process that has not looked at any database yet
    seen = Session.objects.all().db
    untold = reached(known)
with routing_state(is_request=True, required=untold) as known:
    next = Session.objects.all().db
    told = reached(known)
answer = [seen, str(untold["users"]), next, told["users"].is_moment]
"""
    seen, untold, following, is_moment = python(visited, code)
    assert seen in REPLICAS
    assert (untold, following, is_moment) == ("a moment ago", "users_db", False)
