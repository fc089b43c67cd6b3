"""The walk's own judgement; the walk itself is made on the compose file."""

import pytest
from django.db import DatabaseError

from apps.demo.management.commands.smoke import aliases_in, is_refusal, misplaced, unfit


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


def test_database_may_be_up_in_its_role() -> None:
    assert unfit({"state": "up", "role": "replica", "remark": ""}, "replica") == ""


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (None, "/readyz does not tell of it"),
        ({"state": "down", "role": "replica", "remark": "timed out"}, "it is a replica, down: timed out"),
        ({"state": "up", "role": "primary", "remark": "was promoted"}, "it is a primary, up: was promoted"),
    ],
)
def test_database_that_is_unfit_is_called_so(seen: dict[str, str] | None, says: str) -> None:
    assert unfit(seen, "replica") == says


@pytest.mark.parametrize(
    "message",
    [
        "permission denied for schema public",
        'permission denied for database "users"',
        "cannot execute DELETE in a read-only transaction",
        "(1142, \"DELETE command denied to user 'legacy_app'@'localhost' for table 'customers'\")",
    ],
)
def test_server_that_says_no_has_refused(message: str) -> None:
    assert is_refusal(DatabaseError(message))


@pytest.mark.parametrize(
    "message",
    [
        'relation "customers" does not exist',
        "(1045, \"Access denied for user 'legacy_app'@'localhost' (using password: YES)\")",
        "(1792, 'Cannot execute statement in a READ ONLY transaction.')",
    ],
)
def test_any_other_error_is_no_refusal(message: str) -> None:
    assert not is_refusal(DatabaseError(message))
