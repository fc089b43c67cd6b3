"""How far the deletion of an account has come, in each database, for whoever has the link that its owner was led to."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.core import signing
from django.db import router
from django.utils import timezone

from apps.outbox import tombstones
from apps.users.models import User
from apps.users.personal_data import Holding, by_database
from routers.topology import topology

SALT = "apps.users.deletion"
VALID_FOR = timedelta(hours=6)
# At most, from one machine to another.
CLOCKS_DIFFER_BY = timedelta(minutes=5)
# Of what tombstones.progress() says, what calls for somebody; and what is not over yet.
FAILED, WAITING = ("dead", "discarded"), ("waiting", "failing")


class LinkError(Exception):
    """A link that leads to no deletion. The message says why, for the visitor."""


@dataclass(frozen=True)
class Step:
    """What becomes of the `holdings` on `alias`. `state` is done, waiting, failing, failed, or kept, in a database that
    is not ours to write."""

    alias: str
    state: str
    holdings: list[Holding]

    @property
    def is_over(self) -> bool:
        return self.state not in WAITING


def make_token(user_id: int) -> str:
    """For an account that is deleted now."""
    return signing.dumps([user_id, timezone.now().timestamp()], salt=SALT)


def read_token(token: str) -> tuple[int, datetime]:
    """The id of the account that was deleted, and when. Raises LinkError."""
    try:
        user_id, moment = signing.loads(token, salt=SALT, max_age=VALID_FOR)
    except signing.SignatureExpired as error:
        raise LinkError(f"The link has expired: it was good for {VALID_FOR.seconds // 3600} hours.") from error
    except signing.BadSignature as error:
        raise LinkError("The link is not complete. Copy all of it.") from error
    return user_id, datetime.fromtimestamp(moment, UTC)


def steps(user_id: int, deleted_at: datetime) -> list[Step]:
    """One for each database that holds, or held, something of this person."""
    found = tombstones.progress(User, user_id, since=deleted_at - CLOCKS_DIFFER_BY, using=router.db_for_write(User))
    return [Step(alias, _state(alias, found.get(alias, "done")), holdings) for alias, holdings in by_database()]


def _state(alias: str, state: str) -> str:
    cluster = topology().cluster_of_alias(alias)
    if cluster and cluster.read_only:
        return "kept"
    return "failed" if state in FAILED else state
