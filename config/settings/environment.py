"""The environment, read once, with .env (or the file that ENV_FILE names) behind it.

Every variable NAME may also be given as NAME_FILE, the path of a file that holds it.
"""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from environ import FileAwareEnv

BASE_DIR = Path(__file__).resolve().parent.parent.parent

env = FileAwareEnv()
if _file := os.environ.get("ENV_FILE", str(BASE_DIR / ".env")):
    if "ENV_FILE" in os.environ and not Path(_file).is_file():
        raise ImproperlyConfigured(
            f"ENV_FILE names {_file}, which is not a file. Correct it, or leave it unset for .env."
        )
    env.read_env(_file)


def text(name: str, default: str = "") -> str:
    """The variable, without the newline that ends most files. A variable that is set but empty counts as unset."""
    try:
        # Not env.str(): it takes a value that begins with $ for the name of another variable.
        return str(env.ENVIRON.get(name, "")).strip() or default
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}_FILE names a file that cannot be read: {error}.") from error


def flag(name: str) -> bool:
    """The variable as yes or no; anything that is neither is refused, so that a typing error never turns DEBUG on."""
    value = text(name, "off").lower()
    if value not in ("on", "true", "1", "yes", "off", "false", "0", "no"):
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be on or off.")
    return value in ("on", "true", "1", "yes")


def number(name: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
    """The variable as a whole number within bounds."""
    value = text(name, str(default))
    if not value.isdecimal() or not least <= int(value) <= most:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be a whole number from {least} to {most}.")
    return int(value)


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """The variable as one of the choices, which are in capitals, however it is capitalised."""
    value = text(name, default)
    if value.upper() not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be {', '.join(choices[:-1])} or {choices[-1]}.")
    return value.upper()


def words(name: str) -> list[str]:
    """The variable, split at commas and white space."""
    return text(name).replace(",", " ").split()


def email_settings(name: str, default: str) -> dict[str, object]:
    """The EMAIL_* settings that the URL stands for. Raises ImproperlyConfigured for a scheme that is none."""
    url = text(name, default)
    try:
        config = dict(env.email_url_config(url))
    except (ImproperlyConfigured, ValueError):
        # `from None`: the message of urllib quotes the part that it could not read, which may hold the password.
        raise ImproperlyConfigured(
            f"{name} cannot be read as the URL of a mail server. Expected smtp+tls://USER:PASSWORD@HOST:587, "
            "smtp+ssl://…, smtp://…, filemail:///FOLDER, consolemail:// or dummymail:// (percent-encode what is "
            "special in a password)."
        ) from None
    if config.get("EMAIL_FILE_PATH"):  # which the library takes for a relative one
        config["EMAIL_FILE_PATH"] = unquote(urlsplit(url).path)
    return config
