"""Every write to people: in one transaction on users_db, with the messages that tell the other databases of it."""

from collections.abc import Iterable
from typing import Any

from django.db import router
from django.utils import timezone

from apps.outbox.publishing import publish
from apps.outbox.tombstones import key_of
from apps.users import attempts
from apps.users.confirmation import read_token, user_of_token
from apps.users.models import User
from apps.users.topics import DELETED, REGISTERED, SAVED
from routers.transactions import atomic_for


def create_user_with_profile(*, username: str, email: str, password: str) -> User:
    """Make an account whose address is yet to be confirmed. What other databases shall hold of it follows by message.

    Raises IntegrityError, with nothing written, when somebody has taken the name or the address meanwhile.
    """
    user = User(username=username, email=email)
    # Slow on purpose, so before the transaction and not in it.
    user.set_password(password)
    with atomic_for(User):
        user.save()
        announce_saved(user, is_new=True)
    return user


def update_profile(*, user: User, first_name: str, last_name: str, bio: str, email: str) -> bool:
    """Change what people say of themselves. Returns whether the address is a new one, which is then unconfirmed.

    Raises IntegrityError, with nothing written, when somebody has taken the address meanwhile.
    """
    with atomic_for(User):
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

    Nobody is told: no other app holds the address.
    """
    user_id, email = read_token(token)
    now = timezone.now()
    # One statement that names the address, so that an edit at the same moment cannot get a new address confirmed.
    unconfirmed = User.objects.filter(pk=user_id, email=email, email_confirmed_at=None)
    unconfirmed.update(email_confirmed_at=now, updated_at=now)
    return user_of_token(token)


def delete_user(*, user: User) -> None:
    """Delete the account with everything that users_db holds of it, and have the other databases follow."""
    with atomic_for(User):
        user.delete()


def announce_saved(user: User, *, is_new: bool = False) -> None:
    """Tell the other apps of a person. Whoever saves one by other ways, as the admin does, calls it in the transaction;
    create_user() of the manager has done so.

    Raises PublishedOutsideTransaction.
    """
    about = {"id": user.pk}
    _publish(SAVED, about, router.db_for_write(User))
    if is_new:
        _publish(REGISTERED, about | {"at": user.created_at.isoformat()}, router.db_for_write(User))


def announce_again(user_ids: Iterable[int]) -> None:
    """Have the other apps look once more at these people, of whom they have missed something. They may be gone."""
    with atomic_for(User):
        # In the order in which Django announces those that it deletes at once, or two might wait for each other.
        for user_id in sorted(user_ids, reverse=True):
            _publish(SAVED, {"id": user_id}, router.db_for_write(User))


def forget(*, instance: User, using: str, **kwargs: Any) -> None:
    """Receiver of pre_delete: whoever deletes a person, their log-ins go with them.

    By the name that the row has now, and keeps until it is deleted: the instance may have been read before a rename.
    """
    stored = User.objects.using(using).select_for_update().filter(pk=instance.pk)
    if name := stored.values_list("username", flat=True).first():
        attempts.forget(name, using=using)


def announce_deleted(*, instance: User, using: str, **kwargs: Any) -> None:
    """Receiver of post_delete: the other apps are told."""
    _publish(DELETED, {"id": instance.pk}, using)


def _publish(topic: str, about: dict[str, Any], using: str) -> None:
    publish(topic, about, key=key_of(User, about["id"]), using=using)
