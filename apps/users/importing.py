"""Many users at once, for a seed or a move from another system."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.contrib.auth.hashers import make_password
from django.db.models import Q
from django.utils import timezone

from apps.users.models import User
from routers.transactions import atomic_for

BATCH = 400


def import_users(*, rows: Iterable[Mapping[str, Any]]) -> int:
    """Insert the users whose name and address are not taken, in one transaction, with confirmed addresses.

    A row holds username, email, first_name and last_name, and may hold bio, created_at, is_staff, is_superuser and a
    `password` in clear text; without one nobody can sign in as that user. Returns how many were new. Nobody is told:
    the caller copies to other databases what belongs there, in bulk.
    """
    new = 0
    with atomic_for(User):
        for batch in _batches([_user(row) for row in rows]):
            names, emails = [user.username for user in batch], [user.email for user in batch]
            known = User.objects.filter(Q(username__in=names) | Q(email__in=emails)).values_list("username", "email")
            taken = {value for pair in known for value in pair}
            new += _insert([user for user in batch if not {user.username, user.email} & taken])
    return new


def _insert(users: list[User]) -> int:
    dates = [user.created_at for user in users]
    inserted = User.objects.bulk_create(users)
    for user, date in zip(inserted, dates, strict=True):
        user.created_at = date  # auto_now_add took no notice of it
    User.objects.bulk_update(inserted, ["created_at"])
    return len(inserted)


def _user(row: Mapping[str, Any]) -> User:
    fields = {"created_at": timezone.now(), **row, "email": row["email"].lower()}
    fields["password"] = make_password(row.get("password"))
    return User(**fields, email_confirmed_at=fields["created_at"])


def public_data(usernames: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What other databases may keep of these users: user_id, username, display_name and bio, a query a batch."""
    for batch in _batches(list(usernames)):
        for user in User.objects.filter(username__in=batch).order_by("pk"):
            yield user.public_data


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
