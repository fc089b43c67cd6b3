"""What may be a key."""

import unicodedata

from apps.cache.models import MAX_KEY_LENGTH

# What the key of each person begins with.
USERS = "user:"


def checked_key(key: str) -> str:
    """The key as it is. Raises ValueError for an empty one, a longer one than the column takes, and one with control
    characters or lone surrogates, which not every database can store.
    """
    if not 1 <= len(key) <= MAX_KEY_LENGTH:
        raise ValueError(f"A cache key has 1 to {MAX_KEY_LENGTH} characters; {key[:40]!r} has {len(key)}.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in key):
        raise ValueError(f"A cache key has no control characters or lone surrogates; {key[:40]!r} does.")
    return key


def user_key(user_id: int) -> str:
    """The key of what is kept of a person, and what others about them begin with, before a colon: they go with them."""
    return f"{USERS}{user_id}"
