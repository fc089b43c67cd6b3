"""What a request says about a visit, without asking any database."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from apps.monitoring.addresses import client_address

# Arguments of a URL that open a door for whoever knows them.
SECRET_ARGUMENTS = {"uidb64", "token", "signature", "code", "key"}


def is_page_view(request: HttpRequest, response: HttpResponse) -> bool:
    """Whether somebody was shown a page: HTML, in full, asked for by a person, and not in the admin."""
    match = request.resolver_match
    return (
        request.method == "GET"
        and response.status_code == 200
        and response.headers.get("Content-Type", "").startswith("text/html")
        and "prefetch" not in request.headers.get("Sec-Purpose", "")
        and match is not None
        and "admin" not in match.app_names
    )


def page_path(request: HttpRequest) -> str:
    """The path without its query string, at most 200 characters; the URL's pattern where the path holds a secret."""
    match = request.resolver_match
    if match and SECRET_ARGUMENTS & match.kwargs.keys():
        return f"/{match.route}"[:200]
    return request.path[:200]


def signed_in_user_id(request: HttpRequest) -> int | None:
    """The visitor's id, if the page has asked who they are; asking here could cost it a query."""
    user = getattr(request, "_cached_user", None)
    return user.pk if user else None


def visitor_id(request: HttpRequest) -> str:
    """32 hexadecimal digits that tell visitors apart and lead back to nobody.

    Never the session key itself, with which a reader of the analytics database could sign in. A visitor without a
    session is known for one day, by address and browser.
    """
    session = getattr(request, "session", None)
    if session is not None and session.session_key:
        parts = ["session", session.session_key]
    else:
        day = f"{timezone.now():%Y-%m-%d}"
        parts = ["day", day, client_address(request), request.headers.get("User-Agent", "")]
    return salted_hmac("analytics.visitor", "\n".join(parts), algorithm="sha256").hexdigest()[:32]
