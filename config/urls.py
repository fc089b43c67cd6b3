from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("apps.pages.urls")),  # demo
    path("blog/", include("apps.blog.urls")),  # demo
    path("analytics/", include("apps.analytics.urls")),  # demo
    path("legacy/", include("apps.legacy.urls")),  # demo
    path("cache/", include("apps.cache.urls")),
    path("users/", include("apps.users.urls")),
    path("", include("apps.monitoring.urls")),
    path("admin/", admin.site.urls),
]

if "debug_toolbar" in settings.INSTALLED_APPS:
    from debug_toolbar.toolbar import debug_toolbar_urls

    urlpatterns += debug_toolbar_urls()

handler400 = "apps.monitoring.views.bad_request"
handler500 = "apps.monitoring.views.server_error"
