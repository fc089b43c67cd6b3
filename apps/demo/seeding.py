"""Fills the site. Each step is a transaction on one database, or a row of them that can stop anywhere and go on."""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from django.core.management import call_command

from apps.analytics.selectors import count_events, count_reports
from apps.analytics.services import bulk_record, make_reports
from apps.blog.importing import import_blog
from apps.blog.selectors import published_posts
from apps.demo.events import DAYS, SESSION_PREFIX, EventSource
from apps.demo.people import CONTENT, PASSWORD, people
from apps.users.importing import import_users, public_data
from apps.users.selectors import count_users
from routers.owners import as_owner
from routers.topology import topology

Advance = Callable[[int], None]

REMARKS = (
    "This is the explanation I was missing. We had exactly that bug, and it took us a week to see it.",
    "Does this also hold when the replica is in another region?",
    "We went the other way and kept one database. No regrets so far, but I see the point.",
    "The part about transactions should be on a poster.",
    "I tried this on the demo and watched the strip at the foot of the page. Very clear.",
    "Small question: what happens if the process dies between the two writes?",
    "Thank you. I have sent this to the whole team.",
    "I would add that the order of the routers matters as well.",
    "We measured something similar, only our lag had a much longer tail.",
    "Good to read something that says plainly what cannot be done.",
)
# Nobody writes at midnight.
MORNING = timedelta(hours=9)


def today() -> datetime:
    """The last midnight, UTC: everything that is seeded lies before it."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def unfinished_parts() -> set[str]:
    """Which of users, blog and analytics were never filled, or not to the end."""
    # Users and posts come in one transaction each; events in many, and the reports after the last of them.
    counts = {"users": count_users(), "blog": published_posts().count(), "analytics": count_reports()}
    return {part for part, rows in counts.items() if rows == 0}


def delete_everything() -> None:
    """Empty every database that is ours."""
    for alias in topology().managed_aliases():
        with as_owner(alias):  # nobody else may TRUNCATE
            call_command("flush", database=alias, interactive=False, verbosity=0)


def seed_users(number: int, advance: Advance) -> None:
    """The first `number` people, on the users' database."""
    random = Random("users")
    import_users(rows=[_user_row(person, random) for person in people(number)])
    advance(number)


def _user_row(person: Mapping[str, Any], random: Random) -> dict[str, Any]:
    return {
        **{name: person[name] for name in ("username", "first_name", "last_name", "email", "bio")},
        "password": PASSWORD if person.get("login") else None,
        "is_staff": bool(person.get("staff") or person.get("superuser")),
        "is_superuser": bool(person.get("superuser")),
        "created_at": today() - timedelta(days=random.randint(DAYS, 3 * DAYS), minutes=random.randrange(1440)),
    }


def seed_blog(posts: int, users: int, advance: Advance) -> None:
    """The first `posts` posts with their comments, and the blog's own copy of the people."""
    profiles = list(public_data(person["username"] for person in people(users)))
    import_blog(profiles=profiles, posts=_posts(posts, profiles))
    advance(posts)


def _posts(number: int, profiles: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The written posts, newest first, and when there are not enough of them the same again as second parts."""
    ids = {profile["username"]: profile["user_id"] for profile in profiles}
    random = Random("posts")
    for index, post in zip(range(number), _endless_posts(), strict=False):
        published_at = today() - timedelta(days=post["days_ago"]) + MORNING + timedelta(minutes=random.randrange(600))
        yield {
            "author_id": ids.get(post["author"]) or random.choice(list(ids.values())),
            "title": post["title"],
            "summary": post["summary"],
            "content": post["content"],
            "tags": post["tags"],
            "published_at": published_at,
            "comments": _comments(Random(f"comments {index}"), published_at, list(ids.values())),
        }


def _endless_posts() -> Iterator[dict[str, Any]]:
    written = sorted((_read(path) for path in CONTENT.glob("posts/*.md")), key=lambda post: int(post["days_ago"]))
    yield from written
    for part in count(2):
        for post in written:
            yield post | {"title": f"{post['title']}, part {part}", "days_ago": post["days_ago"] + DAYS * (part - 1)}


def _read(path: Any) -> dict[str, Any]:
    _, head, content = path.read_text().split("+++\n", 2)
    return tomllib.loads(head) | {"content": content.strip()}


def _comments(random: Random, published_at: datetime, author_ids: Sequence[int]) -> list[dict[str, Any]]:
    remarks = random.sample(REMARKS, random.randint(0, 5))
    hours = sorted(random.uniform(1, 70) for _ in remarks)
    return [
        {
            "author_id": random.choice(author_ids),
            "content": remark,
            "created_at": min(published_at + timedelta(hours=hour), today()),
        }
        for remark, hour in zip(remarks, hours, strict=True)
    ]


def seed_events(number: int, users: int, advance: Advance) -> None:
    """Events up to `number`, a transaction a batch, and the reports of their days. Memory does not grow with it."""
    there = count_events(session_prefix=SESSION_PREFIX)
    advance(min(there, number))
    source = EventSource(end=today(), user_ids=_reader_ids(users), post_paths=_paths())
    for batch in source.batches(there, number):
        bulk_record(batch)
        advance(len(batch))
    make_reports(days=DAYS)


def _reader_ids(users: int) -> list[int]:
    return [profile["user_id"] for profile in public_data(person["username"] for person in people(min(users, 200)))]


def _paths() -> list[str]:
    return [post.get_absolute_url() for post in published_posts().only("slug")[:50]]
