from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.blog.selectors import newest_posts
from apps.demo.people import demo_logins
from apps.pages import selectors, services

if TYPE_CHECKING:
    from apps.users.models import User


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    logins = demo_logins() if settings.DEMO else []
    context = {"clusters": selectors.cluster_rows(), "posts": newest_posts(5), "logins": logins}
    return render(request, "pages/home.html", context)


@never_cache
@require_safe
@login_required
def dashboard(request: HttpRequest) -> HttpResponse:
    # login_required has seen to it.
    user = cast("User", request.user)
    return render(request, "pages/dashboard.html", selectors.dashboard_of(user))


@require_POST
@staff_member_required
def count_again(request: HttpRequest) -> HttpResponse:
    services.refresh_figures()
    messages.success(request, "The figures have been counted and cached for a day.")
    return redirect("pages:dashboard")
