"""What may be read about people, by this app and by others: an id or a name goes in, never a queryset comes out."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from axes.models import AccessLog
from django.utils import timezone

from apps.users.models import User
from apps.users.personal_data import by_key


def user_by_username(username: str) -> User | None:
    """The person who may sign in under exactly this name; None when there is nobody."""
    # PostgreSQL does not compare text with a NUL: it refuses the query.
    if "\x00" in username:
        return None
    return User.objects.filter(username=username, is_active=True).first()


def people(user_ids: Iterable[int]) -> list[dict[str, Any]]:
    """What other databases may keep of these people: user_id, username, display_name and bio. Who is gone is left out.

    One query, so not for more ids than fit into one.
    """
    return [user.public_data for user in User.objects.filter(pk__in=set(user_ids)).order_by("pk")]


def confirmed_email(user_id: int) -> str:
    """The address of this person, if it is known to be theirs, else nothing."""
    confirmed = User.objects.filter(pk=user_id, email_confirmed_at__isnull=False)
    return confirmed.values_list("email", flat=True).first() or ""


def account_held(user_id: int) -> Iterable[Mapping[str, Any]]:
    """What this app holds of a person, but for the hash of the password."""
    return User.objects.filter(pk=user_id).values(
        "id", "username", "email", "email_confirmed_at", "first_name", "last_name", "bio",
        "is_active", "is_staff", "is_superuser", "last_login", "created_at", "updated_at",
    )  # fmt: skip


def log_ins_held(user_id: int) -> Iterator[Mapping[str, Any]]:
    """When a person logged in and out, and from where."""
    person = User.objects.filter(pk=user_id).values_list("username", "created_at").first()
    if person is None:
        return
    # Not what is older than the account: raw SQL and update() may have left it by somebody else of the same name.
    name, since = person
    logs = AccessLog.objects.filter(username=name, attempt_time__gte=since)
    yield from by_key(logs, "attempt_time", "logout_time", "ip_address", "user_agent")


def users_joined_since(*, days: int, limit: int = 1000) -> list[int]:
    """The ids of the people who signed up in the last `days` days, newest first, at most `limit` of them.

    A list and not a queryset: it goes into an `IN` on other databases, where a subquery cannot reach users_db.
    """
    since = timezone.now() - timedelta(days=days)
    people = User.objects.filter(is_active=True, created_at__gte=since).order_by("-created_at", "-id")
    return list(people.values_list("id", flat=True)[:limit])


def count_users() -> int:
    return User.objects.count()
