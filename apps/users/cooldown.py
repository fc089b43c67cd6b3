"""One mail of a kind to an address in a minute, whoever asks: our forms must not fill somebody's mailbox.

It is noted in the cache, which is local to the node: several nodes send one mail each.
"""

import logging

from django.db import Error
from django.utils.crypto import salted_hmac

from apps.cache import selectors, services

logger = logging.getLogger(__name__)

SECONDS = 60


def claim(kind: str, address: str) -> bool:
    """Whether a mail may be sent now; if so, no other of this kind may for SECONDS. Without a cache each one may."""
    key = _key(kind, address)
    try:
        if selectors.get_entry(key):
            return False
        services.set_entry(key=key, value=True, timeout=SECONDS)
    except Error:
        logger.exception("The cache does not say when mail was last sent to an address; this one is sent.")
    return True


def release(kind: str, address: str) -> None:
    """Take a claim back, because the mail could not be sent."""
    try:
        services.purge(keys=[_key(kind, address)])
    except Error:
        logger.exception("The cache does not forget a mail that was not sent; it can be sent in %s seconds.", SECONDS)


def _key(kind: str, address: str) -> str:
    # Staff look at the keys of the cache, and have no need of the addresses.
    digest = salted_hmac("apps.users.cooldown", address.lower(), algorithm="sha256").hexdigest()
    return f"users:mailed:{kind}:{digest}"
