"""What the blog does when the users app publishes something."""

from collections.abc import Mapping
from typing import Any

from django.db import router

from apps.blog import services
from apps.blog.models import UserProfile
from apps.outbox.registry import handler
from apps.outbox.tombstones import buried, bury, tombstone
from apps.users.selectors import people
from apps.users.topics import SAVED
from routers.scopes import using_primary


# Both in one handler, which has them in order: no copy comes after its tombstone.
# From the primary, because whom a replica has not heard of yet is not gone.
@handler(SAVED, tombstone(UserProfile, "user"), name="blog.copy_profile", destination=UserProfile, batch=True)
@using_primary()
def copy_profile(payloads: list[Mapping[str, Any]]) -> None:
    """Bring the blog's copies of these people up to date with what they are now. Who is gone has none, nor has who was
    and is back, because their database was restored."""
    user_ids = {payload["id"] for payload in payloads}
    found = {person["user_id"]: person for person in people(user_ids)}
    alias, users = router.db_for_write(UserProfile), UserProfile._meta.get_field("user").related_model
    bury(users, user_ids - found.keys(), using=alias)
    gone = user_ids - found.keys() | buried(users, found, using=alias)
    services.save_profiles(rows=[person for user_id, person in found.items() if user_id not in gone])
    services.delete_profiles(user_ids=gone)
