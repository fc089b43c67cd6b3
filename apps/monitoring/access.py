"""Pages that are not for everybody. Who has to log in is asked to; who has, and still may not, gets the 403 page."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import user_passes_test
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseBase
from django.views.decorators.cache import never_cache

View = Callable[..., HttpResponseBase]


def staff_only(view: View) -> View:
    return never_cache(user_passes_test(_is_staff)(view))


def staff_outside_demo(view: View) -> View:
    """For what everybody may see where it is made up, in DEMO and DEBUG, and only there."""
    return never_cache(user_passes_test(lambda user: is_public() or _is_staff(user))(view))


def is_public() -> bool:
    return bool(settings.DEMO or settings.DEBUG)


def _is_staff(user: Any) -> bool:
    """False sends a visitor to log in; to somebody who is logged in and may not, that would make no sense."""
    if user.is_authenticated and not user.is_staff:
        raise PermissionDenied
    return bool(user.is_staff)
