"""How log-ins, and those that failed, are remembered: by name, as axes has them."""

from collections.abc import Mapping
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.http import HttpRequest

LONGEST_NAME = AccessAttempt._meta.get_field("username").max_length


def tried_name(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str | None:
    """The name that a visitor tries to log in with, for axes; cut, as anybody may send one that its column refuses."""
    name: str | None = (credentials or request.POST).get("username")
    return name and name[:LONGEST_NAME]


def rename(old: str, new: str, *, using: str) -> None:
    """Let a person's log-ins follow them to another name, so that whoever takes the old one does not get them.

    What somebody else has left under the new name goes, and so do failures: they are about a name and not a person.
    """
    forget(new, using=using)
    AccessLog.objects.using(using).filter(username=old).update(username=new)
    forget(old, using=using)


def forget(name: str, *, using: str) -> None:
    """Delete whatever is remembered under a name."""
    for model in (AccessAttempt, AccessFailureLog, AccessLog):
        model.objects.using(using).filter(username=name).delete()
