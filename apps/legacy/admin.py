from django.contrib import admin

from apps.legacy.models import LegacyCustomer, LegacyOrder, LegacyOrderLine
from routers.admin import MultiDBModelAdmin, MultiDBTabularInline


class LegacyOrderInline(MultiDBTabularInline):
    model = LegacyOrder
    fields = ("order_no", "ordered_on", "status", "remark")
    show_change_link = True


@admin.register(LegacyCustomer)
class LegacyCustomerAdmin(MultiDBModelAdmin):
    list_display = ("customer_id", "customer_name", "customer_email", "city", "country", "status", "created_date")
    list_display_links = ("customer_id", "customer_name")
    list_filter = ("status", "country")
    search_fields = ("=customer_id", "customer_name", "customer_email", "city")
    date_hierarchy = "created_date"
    inlines = (LegacyOrderInline,)


class LegacyOrderLineInline(MultiDBTabularInline):
    """The lines of an order: Django refuses to register a model with a composite key, but shows it inline."""

    model = LegacyOrderLine
    fields = ("line_no", "item_code", "description", "quantity", "unit_price")


@admin.register(LegacyOrder)
class LegacyOrderAdmin(MultiDBModelAdmin):
    list_display = ("order_no", "customer_id", "customer", "ordered_on", "status", "remark")
    list_filter = ("status",)
    search_fields = ("=order_no", "=customer__customer_id", "customer__customer_name", "remark")
    date_hierarchy = "ordered_on"
    inlines = (LegacyOrderLineInline,)
