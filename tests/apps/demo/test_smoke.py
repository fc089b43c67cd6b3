"""The walk's own judgement; the walk itself is made on the compose file."""

import pytest

from apps.demo.management.commands.smoke import aliases_in, misplaced


def test_aliases_are_read_from_the_header() -> None:
    timing = 'app;dur=3, db-default;desc="2 queries";dur=1.0, db-read_replica_1;desc="1 query";dur=0.3'
    assert aliases_in(timing) == {"default", "read_replica_1"}
    assert aliases_in("") == set()


@pytest.mark.parametrize("served", [{"default"}, {"read_replica_1"}, {"default", "read_replica_1"}])
def test_page_may_come_from_any_alias_of_its_cluster(served: set[str]) -> None:
    assert misplaced(served, ("blog",)) == ""


@pytest.mark.parametrize(
    ("served", "labels", "says"),
    [
        (set(), ("blog",), "nothing came from default or read_replica_1"),
        ({"default", "users_db"}, ("blog",), "users_db had no business there"),
        ({"default"}, ("blog", "users"), "nothing came from users_db or users_replica_1"),
        ({"legacy_db"}, (), "legacy_db had no business there"),
    ],
)
def test_page_from_the_wrong_databases_is_called_so(served: set[str], labels: tuple[str, ...], says: str) -> None:
    assert misplaced(served, labels) == says
