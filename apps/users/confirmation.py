"""The link that proves that an e-mail address is its owner's: signed, for one account and one address, for three days.

Nothing is stored. A link stops working when the address changes or the account goes, because it names both.
"""

import logging
from datetime import timedelta

from django.core import signing
from django.core.mail import send_mail
from django.template.loader import render_to_string

from apps.users import cooldown
from apps.users.models import User

logger = logging.getLogger(__name__)

SALT = "apps.users.confirmation"
VALID_FOR = timedelta(days=3)


class ConfirmationError(Exception):
    """A link that confirms nothing. The message says why, for the visitor."""


def make_token(user: User) -> str:
    return signing.dumps([user.pk, user.email], salt=SALT)


def read_token(token: str) -> tuple[int, str]:
    """The id of the account and the address that the link was made for. Raises ConfirmationError."""
    try:
        user_id, email = signing.loads(token, salt=SALT, max_age=VALID_FOR)
    except signing.SignatureExpired as error:
        raise ConfirmationError(f"The link has expired: it was good for {VALID_FOR.days} days.") from error
    except signing.BadSignature as error:
        raise ConfirmationError("The link is not complete. Copy all of it from the mail.") from error
    return user_id, email


def user_of_token(token: str) -> User:
    """The person whose present address the link is for. Raises ConfirmationError."""
    user_id, email = read_token(token)
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise ConfirmationError("The account that the link was made for has been deleted.")
    if user.email != email:
        raise ConfirmationError("The e-mail address of the account was changed after this link was sent.")
    return user


def send_link(*, user: User, page: str) -> bool:
    """Mail the link to `page`, an absolute URL, unless the address was mailed one just now.

    False when it could not be sent; the reason is in the log.
    """
    if not cooldown.claim("confirm", user.email):
        return True
    context = {"user": user, "link": f"{page}?token={make_token(user)}", "days": VALID_FOR.days}
    body = render_to_string("users/mail/confirm.txt", context)
    try:
        send_mail("Confirm your e-mail address", body, None, [user.email])
    except Exception:
        # Whatever the mail server does, the account exists and the visitor can ask again.
        cooldown.release("confirm", user.email)
        logger.exception("The confirmation mail for user %s could not be sent; they were told to try again.", user.pk)
        return False
    return True
