"""What the cache does when the users app publishes something."""

from collections.abc import Mapping
from typing import Any

from apps.cache.models import CacheEntry
from apps.cache.selectors import of_user
from apps.outbox.registry import handler
from apps.users.topics import DELETED


@handler(DELETED, name="cache.forget_user", destination=CacheEntry)
def forget_user(payload: Mapping[str, Any]) -> None:
    """On the node on which the relay runs. Elsewhere the entries expire."""
    of_user(payload["id"]).delete()
