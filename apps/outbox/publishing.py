"""A message is written by the transaction that it tells of: both are there, or neither is."""

import json
import re
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from apps.outbox.models import KEY_LENGTH, Message
from apps.outbox.registry import NoOutbox, handlers_of, outboxes

VENDORS = ("postgresql", "sqlite")
# PostgreSQL hands out ids before it is known who commits first. So whoever publishes under a key waits for a turn, that
# ends with the transaction, and gets an id then; in one statement, as a round trip is most of what a message costs.
#
# A server has room for some thousand locks, of everybody together. So the keys of a transaction's first messages are
# locked one by one, with a share in their bucket, and those of the rest by the whole bucket: whoever takes the one
# waits for whoever has the other. The number of turns is a setting that ends with the transaction, and with a savepoint
# that is rolled back.
LOCKED_ONE_BY_ONE = 500
BUCKETS = 512  # a power of two
IN_TURN = """
INSERT INTO outbox_message (uid, topic, handler, key, payload, created_at, attempts, error)
SELECT gen_random_uuid(), %s, handler, %s, %s::jsonb, statement_timestamp(), 0, ''
FROM (
  SELECT CASE
    WHEN set_config('outbox.turns', (number + 1)::text, true)::int <= %s
    THEN concat(pg_advisory_xact_lock_shared(hashtext('outbox'), bucket), pg_advisory_xact_lock(hash))
    ELSE concat(pg_advisory_xact_lock(hashtext('outbox'), bucket))
  END
  FROM hashtextextended(%s, 0) AS hash,
       LATERAL (SELECT (hash & %s)::int) AS buckets (bucket),
       coalesce(nullif(current_setting('outbox.turns', true), '')::int, 0) AS number
) AS turn, (VALUES {}) AS subscribed (handler)
"""
# What json.dumps() makes of a NUL; not of a backslash and "u0000".
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class PublishedOutsideTransaction(TransactionManagementError):
    """Without a transaction a message could be there without what it tells of, or the other way round."""


def publish(topic: str, payload: Any, *, key: str = "", using: str) -> None:
    """Write a message for each handler of the topic, in the transaction that is open on `using`.

    Messages under one key reach each handler in the order in which their transactions were committed; without a key
    there is no order. Who publishes under several keys in one transaction does so in the order of the rows' primary
    keys, numbers as numbers and the greatest first, which is that in which Django's Collector sends post_delete; or two
    of them may deadlock. Beside one that publishes under keys more than LOCKED_ONE_BY_ONE times this may happen in any
    order: PostgreSQL ends one of the two after its deadlock_timeout, with nothing written, and that one is to be tried
    again.

    Raises UnknownTopic, NoOutbox, PublishedOutsideTransaction, and ValueError for a payload that is not JSON.
    """
    subscribed = handlers_of(topic)
    connection = connections[_checked_source(using)]
    _require_transaction(topic, connection)
    text = _checked_content(topic, payload, key)
    if not subscribed:
        return
    names = [each.name for each in subscribed]
    if key and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            rows = ", ".join(["(%s)"] * len(names))
            values: list[Any] = [topic, key, text, LOCKED_ONE_BY_ONE, f"outbox {key}", BUCKETS - 1, *names]
            cursor.execute(IN_TURN.format(rows), values)
    else:  # where there is no order, or one writer at a time anyway
        messages = [Message(topic=topic, handler=name, key=key, payload=payload) for name in names]
        Message.objects.using(using).bulk_create(messages)


def sources() -> tuple[str, ...]:
    """The aliases from which messages are sent."""
    return tuple(alias for alias in outboxes() if connections[alias].vendor in VENDORS)


def _checked_source(alias: str) -> str:
    if alias not in outboxes() or connections[alias].vendor not in VENDORS:
        raise NoOutbox(
            f"Nothing can be published on {alias!r}: messages are sent from {', '.join(sources()) or 'nowhere'}. "
            "Name the primary of a cluster that SHARED_APPS gives the outbox, on PostgreSQL or SQLite."
        )
    return alias


def _require_transaction(topic: str, connection: BaseDatabaseWrapper) -> None:
    # Those of Django's TestCase are around everything, so they say nothing about the code.
    if all(getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        raise PublishedOutsideTransaction(
            f"{topic} was published on {connection.alias} outside a transaction. Publish it inside "
            f"transaction.atomic(using={connection.alias!r}), together with the write that it tells of."
        )


def _checked_content(topic: str, payload: Any, key: str) -> str:
    if not isinstance(key, str) or len(key) > KEY_LENGTH or "\0" in key:
        raise ValueError(f"The key of a message of {topic} is no text of at most {KEY_LENGTH} characters without NUL.")
    try:
        text = json.dumps(payload, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:
        # `from None`: the message may quote the payload.
        raise ValueError(f"The payload of a message of {topic} is not JSON ({type(error).__name__}).") from None
    if _NUL.search(text):
        raise ValueError(f"The payload of a message of {topic} holds a NUL character, which PostgreSQL does not store.")
    return text
