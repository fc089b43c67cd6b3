"""What may be declared and subscribed to, and what the checks say about it."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from apps.cache.models import CacheEntry
from apps.outbox.checks import check_outbox
from apps.outbox.registry import UnknownTopic, declare_topic, handler, handlers_of, handlers_on
from config.settings.databases import DATABASES, SHARED_APPS
from tests.apps.outbox.conftest import Subscribe


def ids() -> list[str | None]:
    return [message.id for message in check_outbox()]


def test_handler_is_found_by_its_topics_and_by_its_destination() -> None:
    first, second = declare_topic("first"), declare_topic("second")
    handler(first, second, name="both", destination=CacheEntry)(print)
    handler(second, name="one", destination="users_db")(print)
    assert [each.name for each in handlers_of(first)] == ["both"]
    assert [each.name for each in handlers_of(second)] == ["both", "one"]
    assert list(handlers_on("cache_db")) == ["both"]
    assert list(handlers_on("users_db")) == ["one"]


def test_handler_of_an_undeclared_topic_is_refused() -> None:
    with pytest.raises(UnknownTopic, match=r"Nobody has declared the outbox topic 'first'. There are: none."):
        handler("first", name="one", destination=CacheEntry)


def test_name_of_a_handler_is_taken_once(subscribe: Subscribe) -> None:
    subscribe()
    with pytest.raises(ImproperlyConfigured, match="two outbox handlers with the name 'copy'"):
        subscribe()


@pytest.mark.parametrize("name", ["", "t" * 101], ids=len)
def test_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="has 1 to 100 characters"):
        declare_topic(name)


def test_declared_as_they_should_be_the_checks_have_nothing_to_say(subscribe: Subscribe) -> None:
    subscribe()
    assert ids() == []


def test_destination_without_receipts_is_an_error(subscribe: Subscribe) -> None:
    subscribe(destination="legacy_db")
    assert ids() == ["outbox.E002"]


@override_settings(OUTBOX_RETENTION_DAYS=14, BACKUP_MAX_AGE_DAYS=14)
def test_retention_that_is_not_longer_than_backups_are_kept_is_an_error() -> None:
    assert ids() == ["outbox.E003"]


def test_outbox_on_an_engine_without_order_is_an_error() -> None:
    with override_settings(SHARED_APPS={"outbox": [*SHARED_APPS["outbox"], "legacy"]}):
        expected = [] if "sqlite" in DATABASES["legacy_db"]["ENGINE"] else ["outbox.E001"]
        assert ids() == expected
