"""What base.html needs on every page."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse


def site(request: HttpRequest) -> dict[str, Any]:
    """The navigation, collected from the apps, and the mode.

    An app joins by a `nav` on its AppConfig: a list of (label, URL name) or (label, URL name, "staff").
    """
    items = [item for config in apps.get_app_configs() for item in getattr(config, "nav", ())]
    user = getattr(request, "user", None)
    return {
        "navigation": [
            {"label": label, "url": url, "current": request.path.startswith(url) if url != "/" else request.path == "/"}
            for label, name, *who in items
            if not who or (user and user.is_staff)
            for url in [reverse(name)]
        ],
        "demo": settings.DEMO,
        "source_url": settings.SOURCE_URL,
    }
