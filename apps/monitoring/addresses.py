"""Where a request came from, with our own proxies taken into account."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The visitor's address: what the outermost of TRUSTED_PROXIES proxies wrote, or REMOTE_ADDR without proxies.

    Each proxy adds on the right the address it was asked from, and whatever stands further left anybody may have sent.
    A request whose header is shorter, or not made of addresses, did not come through the proxies.
    """
    peer: str = request.META.get("REMOTE_ADDR", "")
    proxies = settings.TRUSTED_PROXIES
    hops = request.headers.get("X-Forwarded-For", "").split(",")
    if not 0 < proxies <= len(hops):
        return peer
    try:
        return str(ip_address(hops[-proxies].strip()))
    except ValueError:
        return peer
