"""A page for each outbox, which shows everything but what the messages carry, and writes by two actions only."""

import pytest
from django.test import Client, override_settings
from django.urls import reverse

from apps.outbox import registry
from apps.outbox.models import Message
from tests.apps.admin.conftest import SignIn, root, sign_in
from tests.apps.outbox.conftest import DESTINATION, SOURCE, Copying, drain, states

__all__ = ["root", "sign_in"]
pytestmark = pytest.mark.django_db(databases=[SOURCE, DESTINATION])
LIST = "admin:outbox_message_users_db_changelist"


@pytest.fixture
def dead(copy: Copying) -> Message:
    """A dead letter, and a message that it holds up."""
    copy.failing["secret"] = ValueError("no")
    copy.publish("secret", "next", key="k")
    with override_settings(OUTBOX_MAX_ATTEMPTS=1):
        drain()
    copy.failing.clear()
    return Message.objects.using(SOURCE).get(dead_at__isnull=False)


def test_list_shows_the_outbox_of_its_database_and_filters_by_state(root: Client, dead: Message) -> None:
    page = root.get(reverse(LIST), {"state": "dead"})
    assert [message.pk for message in page.context["cl"].result_list] == [dead.pk]
    assert page.context["database_alias"] == SOURCE
    assert "ValueError: no" in page.content.decode()
    assert root.get(reverse(LIST), {"state": "waiting"}).context["cl"].result_count == 1


def test_nothing_shows_the_payload_and_there_is_no_other_page_than_the_list(root: Client, dead: Message) -> None:
    page = root.get(reverse(LIST)).content.decode()
    assert str(dead.uid) in page
    assert "secret" not in page
    assert root.get(f"{reverse(LIST)}{dead.pk}/change/").status_code == 404
    assert root.get(f"{reverse(LIST)}add/").status_code == 404


def test_index_of_the_admin_leads_to_each_outbox(root: Client) -> None:
    page = root.get(reverse("admin:index")).content.decode()
    assert "Messages on users_db" in page
    assert reverse(LIST) in page


@pytest.mark.parametrize(("action", "state"), [("replay", "waiting"), ("discard", "discarded")])
def test_action_replays_or_discards_dead_letters(root: Client, dead: Message, action: str, state: str) -> None:
    everything = [message.pk for message in Message.objects.using(SOURCE).all()]
    page = root.post(reverse(LIST), {"action": action, "_selected_action": everything}, follow=True)
    assert ": 1." in page.content.decode()
    assert states() == {"secret": state, "next": "waiting"}


def test_who_may_only_look_is_offered_no_action(sign_in: SignIn, dead: Message) -> None:
    client = sign_in("outbox.view_message")
    assert client.get(reverse(LIST)).status_code == 200
    client.post(reverse(LIST), {"action": "discard", "_selected_action": [dead.pk]})
    assert states()["secret"] == "dead"
    assert sign_in(username="other").get(reverse(LIST)).status_code == 403


def test_message_without_a_handler_says_so(root: Client, dead: Message) -> None:
    registry.handlers.clear()
    assert "No handler of this name is in this code" in root.get(reverse(LIST)).content.decode()
