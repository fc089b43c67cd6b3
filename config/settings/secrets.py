"""The secret key: given in production, made once and kept elsewhere."""

import os
from contextlib import suppress
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from config.settings.environment import text


def required_secret(name: str) -> str:
    """The variable. Raises ImproperlyConfigured when it is unset, because neither DEBUG nor DEMO is on."""
    if value := text(name):
        return value
    raise ImproperlyConfigured(
        f"{name} is not set. Set it (or {name}_FILE) to a long random string; "
        "or set DEBUG=on to develop, or DEMO=on to show the site on this machine."
    )


def generated_secret(folder: Path) -> str:
    """The key in folder/secret_key, made on first use. Two processes that start together get the same one."""
    path = folder / "secret_key"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = folder / f"secret_key.{os.getpid()}"
        own.touch(mode=0o600)
        own.write_text(get_random_secret_key())
        # Somebody may have been faster; and a link, unlike a write, never shows a file that is half done.
        with suppress(FileExistsError):
            os.link(own, path)
        own.unlink()
    return path.read_text()
