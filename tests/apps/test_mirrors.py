"""What the alias of a replica sees in a test. TEST["MIRROR"] names the primary's test database, not its connection."""

import pytest
from django.db import OperationalError, transaction

from apps.blog.models import Tag
from tests.conftest import CatchUp
from tests.factories.blog import TagFactory

REPLICA = "read_replica_1"
both_connections = pytest.mark.django_db(databases=["default", REPLICA], transaction=True)


def shows_a_tag() -> bool:
    """Whether the replica's alias does. In memory, SQLite lets nobody read what another connection writes."""
    try:
        return Tag.objects.using(REPLICA).exists()
    except OperationalError:
        return False


@both_connections
def test_mirror_sees_nothing_of_an_open_transaction_as_most_tests_are_one() -> None:
    with transaction.atomic(using="default"):
        TagFactory.create()
        assert Tag.objects.using("default").exists()
        assert not shows_a_tag()


@pytest.mark.django_db(databases=["default"])
def test_replica_that_shares_its_primarys_connection_sees_what_the_test_wrote(replicas_share_primary: None) -> None:
    TagFactory.create()
    assert shows_a_tag()


@both_connections
def test_mirror_sees_what_was_committed_once_it_has_arrived(catch_up: CatchUp) -> None:
    TagFactory.create()
    catch_up(REPLICA)
    assert shows_a_tag()
