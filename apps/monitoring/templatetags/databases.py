"""What every page shows of the databases: the alias badge and the place of the ledger."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from routers.topology import topology

register = template.Library()

# The ledger is complete only after the page has been rendered, so the middleware puts it in place of this.
LEDGER_PLACEHOLDER = "<!-- ledger -->"


@register.simple_tag
def ledger() -> SafeString:
    return mark_safe(LEDGER_PLACEHOLDER)


@register.simple_tag
def db_badge(alias: str) -> SafeString:
    """The alias on its cluster's colour, outlined for a replica."""
    cluster = topology().cluster_of_alias(alias)
    replica = " is-replica" if cluster and alias != cluster.primary else ""
    return format_html('<span class="badge db-{}{}">{}</span>', topology().position_of(alias), replica, alias)
