"""What analytics does when pages and the users app publish something."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import router

from apps.analytics.models import AnalyticsEvent, UserActivity
from apps.analytics.recorder import RECORDED
from apps.analytics.selectors import PAGE_VIEW, SIGN_UP
from apps.outbox.registry import handler
from apps.outbox.tombstones import buried, follow, tombstone
from apps.users.topics import REGISTERED
from routers.relations import CrossDatabaseForeignKey

EVENT_USER: CrossDatabaseForeignKey = AnalyticsEvent._meta.get_field("user")


# Both in one handler, which has them in order: no sign-up comes after its tombstone.
@handler(REGISTERED, tombstone(AnalyticsEvent, "user"), name="analytics.record_sign_up", destination=AnalyticsEvent)
def record_sign_up(payload: Mapping[str, Any]) -> None:
    """Record when somebody made an account; or that the events of somebody who is gone are nobody's."""
    user_id = payload["id"]
    if "at" in payload:
        at = datetime.fromisoformat(payload["at"])
        AnalyticsEvent.objects.create(event_type=SIGN_UP, user_id=user_id, timestamp=at)
    else:
        follow(EVENT_USER, [user_id], using=router.db_for_write(AnalyticsEvent))


@handler(RECORDED, name="analytics.store_events", destination=AnalyticsEvent, batch=True)
def store_events(payloads: list[dict[str, Any]]) -> None:
    """Write what was recorded, with the time at which it happened, in three statements for a batch of any size. It has
    come by another way than deletions, so who is gone by now is taken out."""
    events = [AnalyticsEvent(**each | {"timestamp": datetime.fromisoformat(each["timestamp"])}) for each in payloads]
    user_ids = {event.user_id for event in events if event.user_id}
    gone = buried(EVENT_USER.related_model, user_ids, using=router.db_for_write(AnalyticsEvent))
    for event in events:
        event.user_id = None if event.user_id in gone else event.user_id
    AnalyticsEvent.objects.bulk_create(events)
    UserActivity.objects.bulk_create(
        UserActivity(user_id=user_id, page_viewed=event.data["path"], timestamp=event.timestamp)
        for event in events
        if event.event_type == PAGE_VIEW and (user_id := event.user_id)
    )
