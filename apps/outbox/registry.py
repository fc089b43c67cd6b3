"""Which topics there are, and who is to be told.

An app declares a topic where it publishes, and subscribes in a module `handlers`, which is imported at the start:

    SAVED = declare_topic("users.saved")

    @handler(SAVED, name="blog.copy_profile", destination=UserProfile)
    def copy_profile(payload): ...
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.db.models import Model

from apps.outbox.models import NAME_LENGTH, Message
from routers.topology import topology

Function = Callable[[Any], object]


class UnknownTopic(ImproperlyConfigured):
    """Nobody has declared a topic of this name."""


class NoOutbox(ImproperlyConfigured):
    """The alias has no outbox, or none that could be published to."""


@dataclass(frozen=True)
class Handler:
    """Who is called with the payload of each message, inside a transaction on `alias` that also holds its receipt.

    One that takes a batch is called with a list of payloads. In order are the messages of one handler and one key, so
    what has to be in order with each other goes to one handler, which may take several topics.
    """

    name: str
    topics: tuple[str, ...]
    function: Function
    destination: type[Model] | str
    batch: bool = False

    @property
    def alias(self) -> str:
        return self.destination if isinstance(self.destination, str) else router.db_for_write(self.destination)

    def call(self, payloads: list[Any]) -> None:
        for argument in [payloads] if self.batch else payloads:
            self.function(argument)


topics: set[str] = set()
handlers: dict[str, Handler] = {}


def declare_topic(name: str) -> str:
    """Returns the name. Messages hold it, so it stays what it is for as long as any of them waits."""
    topics.add(_checked("topic", name))
    return name


def handler(
    *topics: str, name: str, destination: type[Model] | str, batch: bool = False
) -> Callable[[Function], Function]:
    """Subscribe a function to topics; returns it as it was. `destination` is the model that it writes, or an alias.

    Raises UnknownTopic for a topic that nobody has declared, ImproperlyConfigured for a name that is taken.
    """
    for topic in topics:
        checked_topic(topic)

    def register(function: Function) -> Function:
        if _checked("handler", name) in handlers:
            raise ImproperlyConfigured(f"There are two outbox handlers with the name {name!r}. Rename one of them.")
        handlers[name] = Handler(name, topics, function, destination, batch)
        return function

    return register


def handlers_of(topic: str) -> list[Handler]:
    """Everybody who has subscribed. Raises UnknownTopic."""
    checked_topic(topic)
    return [each for each in handlers.values() if topic in each.topics]


def handlers_on(alias: str) -> dict[str, Handler]:
    """Those whose destination this is, by name."""
    return {name: each for name, each in handlers.items() if each.alias == alias}


def checked_topic(name: str) -> str:
    if name not in topics:
        raise UnknownTopic(
            f"Nobody has declared the outbox topic {name!r}. There are: {', '.join(sorted(topics)) or 'none'}. "
            "Declare it by declare_topic() in the app that publishes it."
        )
    return name


def outboxes() -> tuple[str, ...]:
    """The aliases that have the outbox's tables."""
    return tuple(cluster.primary for cluster in topology().clusters_of_app(Message._meta.app_label))


def _checked(kind: str, name: str) -> str:
    if not 0 < len(name) <= NAME_LENGTH:
        raise ImproperlyConfigured(f"The name of an outbox {kind} has 1 to {NAME_LENGTH} characters, not {len(name)}.")
    return name
