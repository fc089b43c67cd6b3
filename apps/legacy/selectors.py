"""What is read of the old system. Nothing here writes, and nothing could."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import (
    Count,
    DecimalField,
    Expression,
    ExpressionWrapper,
    F,
    OrderBy,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    Value,
)
from django.db.models.functions import Coalesce, Lower, NullIf, Trim

from apps.legacy.models import LegacyCustomer, LegacyOrder, LegacyOrderLine
from apps.users.selectors import confirmed_email

OTHER_STATUS = "other"
ORDERS_SHOWN = 200


def _amount(lines: str = "") -> ExpressionWrapper:
    return ExpressionWrapper(
        F(f"{lines}quantity") * F(f"{lines}unit_price"), output_field=DecimalField(max_digits=18, decimal_places=2)
    )


def _folded(column: str) -> Expression:
    """Text as the reader sees it: capitals and padding make no difference, and a blank is as good as nothing."""
    return NullIf(Lower(Trim(column)), Value(""))


SORTS: dict[str, Expression | F] = {
    "number": F("customer_id"),
    "name": _folded("customer_name"),
    "city": _folded("city"),
    "created": F("created_date"),
    "orders": F("order_count"),
    "total": F("total"),
}


def customers_matching(*, text: str = "", status: str = "") -> QuerySet[LegacyCustomer]:
    """Customers whose name or e-mail address contains the text, or whose number it is, and who have this status:
    a code, OTHER_STATUS for those with none that we know, or any.
    """
    customers = LegacyCustomer.objects.all()
    if text:
        number = Q(customer_id=int(text)) if text.isdecimal() else Q()
        customers = customers.filter(Q(customer_name__icontains=text) | Q(customer_email__icontains=text) | number)
    if status == OTHER_STATUS:
        return customers.exclude(status__in=LegacyCustomer.Status.values)
    return customers.filter(status=status) if status else customers


def with_figures(customers: QuerySet[LegacyCustomer]) -> QuerySet[LegacyCustomer]:
    """The customers, each with `order_count`, and `total` of the orders that were not cancelled: no further query."""
    orders = LegacyOrder.objects.filter(customer=OuterRef("pk")).order_by().values("customer")
    lines = (
        LegacyOrderLine.objects.filter(order__customer=OuterRef("pk"))
        .exclude(order__status=LegacyOrder.Status.CANCELLED)
        .order_by()
        .values("order__customer")
    )
    return customers.annotate(
        order_count=Coalesce(Subquery(orders.annotate(number=Count("*")).values("number")), 0),
        total=Subquery(lines.annotate(total=Sum(_amount())).values("total")),
    )


def sorted_customers(customers: QuerySet[LegacyCustomer], sort: str) -> QuerySet[LegacyCustomer]:
    """The customers with their figures, by one of SORTS, descending with a minus sign in front.

    What is missing comes last in both directions, on every engine, and the key decides between equals, so that no
    customer is on two pages or on none. Raises ValueError for any other sort.
    """
    name = sort.removeprefix("-")
    if name not in SORTS:
        raise ValueError(f"{sort!r} is not a way to sort customers. There are: {', '.join(SORTS)}.")
    # The key is never missing, and without the clause its index serves.
    order = OrderBy(SORTS[name], descending=sort != name, nulls_last=None if name == "number" else True)
    return with_figures(customers).order_by(order, "customer_id")


def customer_with_figures(customer_id: int) -> LegacyCustomer:
    """One customer. Raises LegacyCustomer.DoesNotExist."""
    return with_figures(LegacyCustomer.objects.all()).get(pk=customer_id)


def latest_orders(customer: LegacyCustomer) -> list[LegacyOrder]:
    """A customer's newest orders, at most ORDERS_SHOWN, each with `line_count`, `total` and its lines: two queries."""
    return list(_with_totals(customer.orders.all()).prefetch_related("lines")[:ORDERS_SHOWN])


def purchases_of(email: str, *, limit: int | None = ORDERS_SHOWN) -> list[LegacyOrder]:
    """The latest orders (at most `limit`) of all customers with this address, however it is capitalised.

    Each has its `customer`, `line_count` and `total`. One query. Call it only for an address that is known to be the
    reader's own.
    """
    address = email.strip().lower()
    # PostgreSQL does not compare text with a NUL: it refuses the query.
    if not address or "\x00" in address:
        return []
    orders = LegacyOrder.objects.alias(address=Lower(Trim("customer__customer_email"))).filter(address=address)
    found = _with_totals(orders).select_related("customer")[:limit]
    # MySQL takes "josé@" for "jose@", who may be somebody else.
    return [order for order in found if order.customer and _address(order.customer) == address]


def orders_held(user_id: int) -> Iterator[Mapping[str, Any]]:
    """The orders under the address of this person, if it is known to be theirs."""
    for order in purchases_of(confirmed_email(user_id), limit=None):
        yield {
            "number": order.order_no,
            "customer": str(order.customer),
            "ordered_on": order.ordered_on,
            "status": order.status_label,
            "remark": order.remark,
        }


def batches(customers: QuerySet[LegacyCustomer], *, size: int = 500) -> Iterator[list[LegacyCustomer]]:
    """The customers with their figures, in the order of their keys, never more than `size` in memory.

    Not .iterator(): on MySQL the driver fetches the whole result all the same, and elsewhere a slow reader would keep a
    cursor open for as long as the download takes.
    """
    remaining = rows = with_figures(customers).order_by("customer_id")
    while batch := list(remaining[:size]):
        yield batch
        remaining = rows.filter(customer_id__gt=batch[-1].customer_id)


def count_customers() -> int:
    return LegacyCustomer.objects.count()


def _with_totals(orders: QuerySet[LegacyOrder]) -> QuerySet[LegacyOrder]:
    newest_first = (F("ordered_on").desc(nulls_last=True), "-order_no")
    totals = orders.annotate(line_count=Count("lines__line_no"), total=Sum(_amount("lines__")))
    return totals.order_by(*newest_first)


def _address(customer: LegacyCustomer) -> str:
    return (customer.customer_email or "").strip().lower()
