"""What may be read about people, by this app and by others: an id or a name goes in, never a queryset comes out."""

from datetime import timedelta

from django.utils import timezone

from apps.users.models import User


def user_by_username(username: str) -> User | None:
    """The person who may sign in under exactly this name; None when there is nobody."""
    # PostgreSQL does not compare text with a NUL: it refuses the query.
    if "\x00" in username:
        return None
    return User.objects.filter(username=username, is_active=True).first()


def users_joined_since(*, days: int, limit: int = 1000) -> list[int]:
    """The ids of the people who signed up in the last `days` days, newest first, at most `limit` of them.

    A list and not a queryset: it goes into an `IN` on other databases, where a subquery cannot reach users_db.
    """
    since = timezone.now() - timedelta(days=days)
    people = User.objects.filter(is_active=True, created_at__gte=since).order_by("-created_at", "-id")
    return list(people.values_list("id", flat=True)[:limit])


def count_users() -> int:
    return User.objects.count()
