"""Who may log in, decided where it is written."""

from axes.backends import AxesStandaloneBackend

from routers.scopes import using_primary


class LockoutBackend(AxesStandaloneBackend):  # type: ignore[misc]  # axes has no types
    """The lock of django-axes, asked on the primary, and so, for the rest of the request, is the password.

    On a replica that is behind, whoever leaves out the cookie of their position would find neither the failures that
    have been counted nor a password that was changed.
    """

    authenticate = using_primary()(AxesStandaloneBackend.authenticate)
