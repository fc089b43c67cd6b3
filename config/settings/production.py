"""What is added when neither DEBUG nor DEMO is on: `check --deploy` finds nothing to complain about."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.settings.environment import number, text, words

if not words("ALLOWED_HOSTS"):
    raise ImproperlyConfigured("ALLOWED_HOSTS is not set. Set it to the host names of the site, separated by commas.")

SECURE_SSL_REDIRECT = True
# The load balancer asks for these over plain http.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = number("HSTS_SECONDS", 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

# The header by which a proxy says that the visitor came over https, for example X-Forwarded-Proto. Only set it when
# the proxy removes it from what visitors send.
SECURE_PROXY_SSL_HEADER: tuple[str, str] | None = None
if header := text("SECURE_PROXY_HEADER"):
    SECURE_PROXY_SSL_HEADER = (f"HTTP_{header.upper().replace('-', '_')}", "https")

STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
