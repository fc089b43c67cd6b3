"""A demo shows its databases and its logins to everybody, so nobody else's machine should reach one."""

import ipaddress
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error


def check_demo_hosts(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """demo.E001: DEMO is on and the site answers to a host that is not this machine."""
    if not settings.DEMO:
        return []
    return [
        Error(
            f"DEMO is on, and ALLOWED_HOSTS lets the site answer to {host!r}, which is not this machine alone.",
            hint="Turn DEMO off (and set SECRET_KEY) to serve others, or leave only localhost, 127.0.0.1 and [::1] in "
            "ALLOWED_HOSTS. A demo shows its databases and its logins to everybody.",
            obj=host,
            id="demo.E001",
        )
        for host in settings.ALLOWED_HOSTS
        if not _is_loopback(host)
    ]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
