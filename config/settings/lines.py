"""What differs between the supported lines of Django, in one place: 5.2 LTS and 6.x."""

from typing import Any

import django

CSP_POLICY: dict[str, list[str]] = {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'"],
    "font-src": ["'self'"],
    "connect-src": ["'self'"],
    "form-action": ["'self'"],
    "base-uri": ["'none'"],
    "frame-ancestors": ["'none'"],
}

CSP_MIDDLEWARE: str
CSP_SETTINGS: dict[str, Any]
if django.VERSION >= (6, 0):
    CSP_MIDDLEWARE = "django.middleware.csp.ContentSecurityPolicyMiddleware"
    CSP_SETTINGS = {"SECURE_CSP": CSP_POLICY}
else:
    CSP_MIDDLEWARE = "csp.middleware.CSPMiddleware"
    CSP_SETTINGS = {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": CSP_POLICY}}


def email_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The EMAIL_* settings that an e-mail URL stands for, in the form that this line of Django reads."""
    # A mail server that hangs must not hold a visitor for longer than this, in seconds.
    config = {"EMAIL_TIMEOUT": 5} | config
    if config["EMAIL_BACKEND"] == "django.core.mail.backends.console.EmailBackend":
        config["EMAIL_BACKEND"] = "config.mail.EmailBackend"
    if django.VERSION < (6, 1):
        return config
    named = {
        "timeout": "EMAIL_TIMEOUT",
        "host": "EMAIL_HOST",
        "port": "EMAIL_PORT",
        "username": "EMAIL_HOST_USER",
        "password": "EMAIL_HOST_PASSWORD",
        "use_tls": "EMAIL_USE_TLS",
        "use_ssl": "EMAIL_USE_SSL",
    }
    backend = config["EMAIL_BACKEND"]
    if backend.endswith("filebased.EmailBackend"):
        named = {"file_path": "EMAIL_FILE_PATH"}
    elif not backend.endswith("smtp.EmailBackend"):
        named = {}
    options = {option: config[name] for option, name in named.items() if config.get(name)}
    return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
