import json

from django.contrib import messages
from django.core.paginator import InvalidPage, Page, Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from apps.cache import selectors, services
from apps.cache.forms import EntryFilter
from apps.cache.models import CacheEntry
from apps.monitoring.access import staff_only

PAGE_SIZE = 50
VALUE_SHOWN = 20_000


@require_safe
@staff_only
def entry_list(request: HttpRequest) -> HttpResponse:
    form = EntryFilter(request.GET)
    entries = form.entries()
    return render(request, "cache/list.html", {"form": form, "page": _page(request, entries), "alias": entries.db})


@require_safe
@staff_only
def entry(request: HttpRequest, entry_id: int) -> HttpResponse:
    entry = get_object_or_404(CacheEntry, pk=entry_id)
    value = json.dumps(entry.value, indent=2, ensure_ascii=False)
    context = {"entry": entry, "value": value[:VALUE_SHOWN], "size": len(value), "is_cut": len(value) > VALUE_SHOWN}
    return render(request, "cache/entry.html", context | {"alias": entry._state.db})


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def purge_entry(request: HttpRequest, entry_id: int) -> HttpResponse:
    entry = get_object_or_404(CacheEntry.objects.defer("value"), pk=entry_id)
    if request.method == "POST":
        return _purged(request, services.purge(keys=[entry.key]))
    return _confirm(request, f"Purge “{entry.key}”?", 1, entry.get_absolute_url())


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def purge_expired(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _purged(request, services.purge(expired=True))
    number = selectors.list_entries(state=selectors.EXPIRED).count()
    return _confirm(request, "Purge what has expired?", number, reverse("cache:list"))


@require_http_methods(["GET", "HEAD", "POST"])
@staff_only
def purge_all(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        return _purged(request, services.purge(everything=True))
    return _confirm(request, "Purge the whole cache?", selectors.list_entries().count(), reverse("cache:list"))


def _page(request: HttpRequest, entries: QuerySet[CacheEntry]) -> Page[CacheEntry]:
    try:
        return Paginator(entries, PAGE_SIZE).page(request.GET.get("page", 1))
    except InvalidPage as error:
        raise Http404(str(error)) from error


def _confirm(request: HttpRequest, question: str, number: int, cancel_url: str) -> HttpResponse:
    context = {"question": question, "number": number, "cancel_url": cancel_url}
    return render(request, "cache/confirm_purge.html", context)


def _purged(request: HttpRequest, number: int) -> HttpResponse:
    messages.success(request, f"{number} {'entry has' if number == 1 else 'entries have'} been purged.")
    return redirect("cache:list")
