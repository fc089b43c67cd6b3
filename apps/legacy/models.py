"""HOLM & SONS, the mail-order house's order system of 2004, as we found it on legacy_db.

The system and everybody in it are made up; its habits are not. Another program writes these tables and owns their
schema, so they are unmanaged, never migrated and only read. Notes on what is there and what was left out:

* `customers`, `ord_hdr` and `ord_line` are all that we were given. The article master, the stock and the people who
  used the old program have no model: order lines carry their own description and price, and its log-ins are not ours.
* There are no foreign keys. Ours say `db_constraint=False` and DO_NOTHING: an order may name a customer who is not
  there, so nobody may rely on `order.customer`.
* Everything but the keys may be NULL, names are in capitals or not, and text may end in spaces, as that of a CHAR
  column does. `str()` and `status_label` put up with that; a code that is not in `Status` is one we were not told of.
* No column holds an amount: what an order comes to is quantity times price over its lines, in a currency that the old
  system never recorded.
* An order line has no id. Its key is order and line number, hence the CompositePrimaryKey.
"""

from decimal import Decimal

from django.db import models
from django.urls import reverse


class LegacyCustomer(models.Model):
    class Status(models.TextChoices):
        ACTIVE = "A"
        INACTIVE = "I"
        CLOSED = "X"

    customer_id = models.IntegerField(primary_key=True)
    customer_name = models.CharField(max_length=120, null=True)
    customer_email = models.CharField(max_length=254, null=True)
    created_date = models.DateField(null=True)
    status = models.CharField(max_length=1, choices=Status.choices, null=True, db_column="cust_stat")
    city = models.CharField(max_length=80, null=True)
    country = models.CharField(max_length=2, null=True, db_column="ctry_cd")

    class Meta:
        managed = False
        db_table = "customers"
        ordering = ("customer_id",)
        verbose_name = "customer"

    def __str__(self) -> str:
        return (self.customer_name or "").strip() or f"Customer {self.customer_id}"

    def get_absolute_url(self) -> str:
        return reverse("legacy:customer", args=[self.customer_id])

    @property
    def status_label(self) -> str:
        return _label(self.Status, self.status)


class LegacyOrder(models.Model):
    class Status(models.TextChoices):
        NEW = "NW"
        SHIPPED = "SH"
        INVOICED = "IV"
        CANCELLED = "CN"

    order_no = models.IntegerField(primary_key=True, db_column="ord_no")
    # The old system keeps no promise here: there are orders of customers that do not exist.
    customer = models.ForeignKey(
        LegacyCustomer, models.DO_NOTHING, null=True, db_constraint=False, related_name="orders"
    )
    ordered_on = models.DateField(null=True, db_column="ord_dt")
    status = models.CharField(max_length=2, choices=Status.choices, null=True, db_column="ord_stat")
    remark = models.CharField(max_length=200, null=True, db_column="ord_rem")

    class Meta:
        managed = False
        db_table = "ord_hdr"
        ordering = ("order_no",)
        verbose_name = "order"

    def __str__(self) -> str:
        return f"Order {self.order_no}"

    @property
    def status_label(self) -> str:
        return _label(self.Status, self.status)


class LegacyOrderLine(models.Model):
    pk = models.CompositePrimaryKey("order_id", "line_no")
    order = models.ForeignKey(
        LegacyOrder, models.DO_NOTHING, db_column="ord_no", db_constraint=False, related_name="lines"
    )
    line_no = models.IntegerField()
    item_code = models.CharField(max_length=20, null=True, db_column="item_cd")
    description = models.CharField(max_length=120, null=True, db_column="item_desc")
    quantity = models.IntegerField(null=True, db_column="qty")
    unit_price = models.DecimalField(max_digits=10, decimal_places=2, null=True, db_column="unit_prc")

    class Meta:
        managed = False
        db_table = "ord_line"
        ordering = ("order_id", "line_no")
        verbose_name = "order line"

    def __str__(self) -> str:
        return f"{self.order_id}/{self.line_no}"

    @property
    def amount(self) -> Decimal | None:
        """Quantity times price; None where the old system lacks either, as SQL would have it."""
        if self.quantity is None or self.unit_price is None:
            return None
        return self.quantity * self.unit_price


def _label(choices: type[models.TextChoices], code: str | None) -> str:
    known = {str(value): str(label) for value, label in choices.choices}
    code = (code or "").strip()
    return known.get(code, f"Unknown code “{code}”") if code else "Not recorded"
