"""Ninety days of made-up visits with a weekly rhythm. The same number gives the same events, in any number of runs."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

DAYS = 90
SESSION_PREFIX = "demo-"
BATCH = 5_000
# Monday to Sunday; and the hours of a day, busiest in the afternoon.
WEEK = (1.0, 1.1, 1.15, 1.1, 0.95, 0.5, 0.45)
HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 11, 14, 15, 14, 12, 14, 16, 15, 13, 11, 9, 8, 8, 7, 5, 3)
TYPES = {"page_view": 880, "search": 50, "login": 35, "comment": 20, "export": 10, "sign_up": 5}
PAGES = {"/": 30, "/blog/": 24, "/databases/": 9, "/analytics/": 6, "/legacy/": 5}


class EventSource:
    """Makes event number 0, 1, 2 … Each batch has a random generator of its own, so that making a million of them
    can stop anywhere and go on from there."""

    def __init__(self, *, end: datetime, user_ids: Sequence[int], post_paths: Sequence[str]) -> None:
        self.start = end - timedelta(days=DAYS)
        self.user_ids = user_ids
        self.paths = [*PAGES, *post_paths]
        # Newer posts are read more.
        self.path_weights = [*PAGES.values(), *(12 / (rank + 2) for rank in range(len(post_paths)))]
        weekday = self.start.weekday()
        self.day_weights = list(accumulate(WEEK[(weekday + day) % 7] * (1 + day / DAYS) for day in range(DAYS)))

    def batches(self, first: int, last: int) -> Iterator[list[dict[str, Any]]]:
        """The events first <= number < last, in lists of at most BATCH."""
        for index in range(first // BATCH, (last + BATCH - 1) // BATCH):
            events = self._batch(index)
            offset = index * BATCH
            yield events[max(0, first - offset) : last - offset]

    def _batch(self, index: int) -> list[dict[str, Any]]:
        random = Random(f"events {index}")
        return [self._event(random) for _ in range(BATCH)]

    def _event(self, random: Random) -> dict[str, Any]:
        event_type = random.choices(list(TYPES), list(TYPES.values()))[0]
        day = random.choices(range(DAYS), cum_weights=self.day_weights)[0]
        hour = random.choices(range(24), HOURS)[0]
        path = random.choices(self.paths, self.path_weights)[0]
        known = event_type in ("login", "comment", "sign_up") or random.random() < 0.3
        user_id = random.choice(self.user_ids) if self.user_ids and known else None
        return {
            "event_type": event_type,
            "user_id": user_id,
            # Some twenty visits to a session, and recognisable as ours.
            "session_id": f"{SESSION_PREFIX}{day:02}{random.randrange(12):02}{user_id or 0:08}",
            "timestamp": self.start + timedelta(days=day, hours=hour, seconds=random.randrange(3600)),
            "data": {"path": path} if event_type == "page_view" else {},
        }
