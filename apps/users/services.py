"""Every write to people: in one transaction on users_db, announced to the other apps once it is committed."""

from functools import partial
from typing import Any

from django.db import router, transaction
from django.dispatch import Signal
from django.utils import timezone

from apps.users import signals
from apps.users.confirmation import read_token, user_of_token
from apps.users.models import User


def register_user(*, username: str, email: str, password: str) -> User:
    """Make an account whose address is yet to be confirmed.

    Raises IntegrityError, with nothing written, when somebody has taken the name or the address meanwhile.
    """
    user = User(username=username, email=email)
    # Slow on purpose, so before the transaction and not in it.
    user.set_password(password)
    with transaction.atomic(using=router.db_for_write(User)):
        user.save()
        announce_saved(user, is_new=True)
    return user


def update_profile(*, user: User, first_name: str, last_name: str, bio: str, email: str) -> bool:
    """Change what people say of themselves. Returns whether the address is a new one, which is then unconfirmed.

    Raises IntegrityError, with nothing written, when somebody has taken the address meanwhile.
    """
    with transaction.atomic(using=router.db_for_write(User)):
        stored = User.objects.select_for_update().get(pk=user.pk)
        address_is_new = stored.email != email
        if address_is_new:
            stored.email_confirmed_at = None
        stored.first_name, stored.last_name, stored.bio, stored.email = first_name, last_name, bio, email
        stored.save(
            update_fields=["first_name", "last_name", "bio", "email", "email_confirmed_at", "updated_at"],
        )
        announce_saved(stored)
    return address_is_new


def confirm_email(*, token: str) -> User:
    """Note that the address in the link is its owner's. A second time changes nothing. Raises ConfirmationError.

    Nobody is told: no other app shows the address.
    """
    user_id, email = read_token(token)
    now = timezone.now()
    # One statement that names the address, so that an edit at the same moment cannot get a new address confirmed.
    unconfirmed = User.objects.filter(pk=user_id, email=email, email_confirmed_at=None)
    unconfirmed.update(email_confirmed_at=now, updated_at=now)
    return user_of_token(token)


def delete_user(*, user: User) -> None:
    """Delete the account with everything that hangs on it on users_db; other databases hear of it afterwards."""
    user_id = user.pk
    with transaction.atomic(using=router.db_for_write(User)):
        user.delete()
        announce_deleted(user_id)


def announce_saved(user: User, *, is_new: bool = False) -> None:
    """Tell the other apps of a person, on commit. Whoever saves one by other ways, as the admin does, calls it."""
    data = {"user_id": user.pk, "username": user.username, "display_name": user.display_name, "bio": user.bio}
    _announce(signals.user_saved, data)
    if is_new:
        _announce(signals.user_registered, data)


def announce_deleted(user_id: int) -> None:
    """Tell the other apps, on commit, that somebody is gone."""
    _announce(signals.user_deleted, {"user_id": user_id})


def _announce(signal: Signal, data: dict[str, Any]) -> None:
    # send_robust logs a receiver that fails and goes on with the next.
    transaction.on_commit(partial(signal.send_robust, sender=User, **data), using=router.db_for_write(User))
