from itertools import chain
from typing import Any

from django.core.paginator import InvalidPage, Page, Paginator
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from apps.legacy import selectors
from apps.legacy.export import csv_chunks
from apps.legacy.forms import CustomerFilter
from apps.legacy.models import LegacyCustomer
from apps.monitoring.access import staff_outside_demo

PAGE_SIZE = 25
# (what SORTS calls it, heading, whether it is a column of figures)
COLUMNS = [
    ("number", "Number", False),
    ("name", "Name", False),
    ("city", "City", False),
    ("created", "Customer since", False),
    ("orders", "Orders", True),
    ("total", "Total", True),
]


@require_safe
@staff_outside_demo
def customer_list(request: HttpRequest) -> HttpResponse:
    form = CustomerFilter(request.GET)
    sort = request.GET.get("sort") or "number"
    try:
        customers = selectors.sorted_customers(form.customers(), sort)
    except ValueError as error:
        raise Http404(str(error)) from error
    context = {"form": form, "sort": sort, "columns": _columns(sort), "page": _page(request, customers)}
    return render(request, "legacy/list.html", context | {"alias": customers.db})


@require_safe
@staff_outside_demo
def customer(request: HttpRequest, customer_id: int) -> HttpResponse:
    try:
        customer = selectors.customer_with_figures(customer_id)
    except LegacyCustomer.DoesNotExist as error:
        raise Http404(f"The old system has no customer {customer_id}.") from error
    context = {"customer": customer, "orders": selectors.latest_orders(customer), "alias": customer._state.db}
    return render(request, "legacy/customer.html", context)


@require_safe
@staff_outside_demo
def export(request: HttpRequest) -> HttpResponseBase:
    """The customers of the current filter as CSV."""
    form = CustomerFilter(request.GET)
    if not form.is_valid():
        # The list says what is wrong with it.
        return HttpResponseRedirect(f"{reverse('legacy:list')}?{request.GET.urlencode()}")
    chunks = csv_chunks(form.customers())
    # The header and the first customers are made here: a database that is down is an error page, not half a file.
    first = [next(chunks), next(chunks, "")]
    return StreamingHttpResponse(
        chain(first, chunks),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="customers.csv"'},
    )


def _page(request: HttpRequest, customers: QuerySet[LegacyCustomer]) -> Page[LegacyCustomer]:
    try:
        return Paginator(customers, PAGE_SIZE).page(request.GET.get("page", 1))
    except InvalidPage as error:
        raise Http404(str(error)) from error


def _columns(sort: str) -> list[dict[str, Any]]:
    """The headings that sort; a click on the one in use turns it round."""
    return [
        {
            "heading": heading,
            "is_figure": is_figure,
            "sort": f"-{name}" if sort == name else name,
            "direction": {name: "ascending", f"-{name}": "descending"}.get(sort, ""),
        }
        for name, heading, is_figure in COLUMNS
    ]
