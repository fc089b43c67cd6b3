"""How far into each cluster's log a visitor has written or seen, so that no later read goes back behind it.

The visitor carries it, in signed cookies, and so may a message or a task, as text. One cookie would lose a race: an
older response that arrives last would overwrite a newer one. So each response that raises the position sets a cookie of
its own name, a request takes the furthest of all that it brings, and a response removes only those that its request
brought. (GitLab described both the race, and that a position may only be dropped once all replicas have passed it.)
"""

import math
import re
import time
from collections.abc import Iterable, Mapping
from hashlib import blake2s
from typing import Any, NamedTuple

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase

NAME = re.compile(r"pos\.[0-9a-f]{8}")
SALT = "routers.positions"
UNKNOWN = 2**31


class Position(NamedTuple):
    """A place in the log of a PostgreSQL server: its timeline and an LSN in bytes. They compare as they follow each
    other.

    Where there is no log that could be asked, `at` is a moment, in milliseconds since 1970: on timeline 0 for engines
    without one, and on UNKNOWN, above every other, for a primary that has not answered.
    """

    timeline: int
    at: int

    @classmethod
    def now(cls, timeline: int = 0) -> "Position":
        return cls(timeline, time.time_ns() // 1_000_000)

    @property
    def is_moment(self) -> bool:
        return self.timeline in (0, UNKNOWN)

    def __str__(self) -> str:
        return "a moment ago" if self.is_moment else f"{self.at >> 32:X}/{self.at & 0xFFFFFFFF:X}"


Positions = dict[str, Position]  # by the name of the cluster


def max_age() -> int:
    """Seconds for which a cookie counts: longer than any replica in rotation may lag, and than a window of time."""
    bounds = {"REPLICA_MAX_LAG_SECONDS": 30, "READ_YOUR_WRITES_SECONDS": 5}
    return max(300, *(math.ceil(2 * getattr(settings, name, default)) for name, default in bounds.items()))


def furthest(*each: Mapping[str, Position]) -> Positions:
    found: Positions = {}
    for positions in each:
        for cluster, position in positions.items():
            found[cluster] = max(position, found.get(cluster, position))
    return found


def dumps(positions: Mapping[str, Position]) -> str:
    """As text that nobody can forge, for a cookie, a message or a task."""
    return signing.dumps({cluster: list(position) for cluster, position in positions.items()}, salt=SALT)


def loads(text: str, *, max_age: int | None = None) -> Positions:
    """What dumps() made. Raises ValueError for anything else, and for what is older than `max_age` seconds."""
    try:
        found = signing.loads(text, salt=SALT, max_age=max_age)
        return {str(cluster): Position(int(timeline), int(at)) for cluster, (timeline, at) in found.items()}
    except (signing.BadSignature, ValueError, TypeError, AttributeError) as error:
        raise ValueError("position() has not made this text, or it has under another SECRET_KEY.") from error


def received(request: HttpRequest) -> dict[str, Positions]:
    """The positions that a request brings, by the name of the cookie; empty ones for cookies that are of no use."""
    return {name: _cookie(value) for name, value in request.COOKIES.items() if NAME.fullmatch(name)}


def _cookie(text: str) -> Positions:
    try:
        return loads(text, max_age=max_age())
    except ValueError:
        return {}


def send(response: HttpResponseBase, positions: Mapping[str, Position], *, instead_of: Iterable[str]) -> None:
    """Have the visitor carry these positions, if any, and no longer the cookies of those names."""
    kept: dict[str, Any] = {"samesite": "Lax", "secure": settings.SESSION_COOKIE_SECURE, "httponly": True}
    for name in instead_of:
        response.delete_cookie(name, samesite="Lax")
    if positions:
        response.set_cookie(_name(positions), dumps(positions), max_age=max_age(), **kept)


def _name(positions: Mapping[str, Position]) -> str:
    """Another one for each position, so that none takes another's place; the same for the same, as pages that are read
    at once and find the same would otherwise make a visitor carry many."""
    return f"pos.{blake2s(repr(sorted(positions.items())).encode(), digest_size=4).hexdigest()}"
