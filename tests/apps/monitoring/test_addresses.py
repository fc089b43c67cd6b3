"""Whose address a request has, with and without proxies in front."""

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from apps.monitoring.addresses import client_address


@pytest.mark.parametrize(
    ("proxies", "header", "address"),
    [
        (0, None, "10.0.0.1"),
        (0, "192.0.2.1", "10.0.0.1"),
        (1, None, "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "192.0.2.66, 192.0.2.1", "192.0.2.1"),
        (2, "192.0.2.66,192.0.2.1 , 10.0.0.2", "192.0.2.1"),
        (2, "192.0.2.1", "10.0.0.1"),
        (1, "2001:DB8::1", "2001:db8::1"),
        (1, "192.0.2.1:4711", "10.0.0.1"),
        (1, "unknown", "10.0.0.1"),
        (1, "192.0.2.1,", "10.0.0.1"),
        (1, "x" * 5000, "10.0.0.1"),
    ],
)
def test_address_is_what_the_outermost_proxy_of_ours_wrote(
    rf: RequestFactory, settings: Settings, proxies: int, header: str | None, address: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {} if header is None else {"X-Forwarded-For": header}
    assert client_address(rf.get("/", REMOTE_ADDR="10.0.0.1", headers=headers)) == address
