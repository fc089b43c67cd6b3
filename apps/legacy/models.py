"""The old order system, as we found it. Its tables are on legacy_db: never migrated, only read."""

from typing import Any, ClassVar

from django.db import models


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


class LegacyOrderLine(models.Model):
    pk: ClassVar[Any] = models.CompositePrimaryKey("order_id", "line_no")
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
