"""How a log-in that failed is remembered."""

from collections.abc import Mapping
from typing import Any

from axes.models import AccessAttempt
from django.http import HttpRequest

LONGEST_NAME = AccessAttempt._meta.get_field("username").max_length


def tried_name(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str | None:
    """The name that a visitor tries to log in with, for axes; cut, as anybody may send one that its column refuses."""
    name: str | None = (credentials or request.POST).get("username")
    return name and name[:LONGEST_NAME]
