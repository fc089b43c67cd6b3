"""What every page shows of the databases: the alias badge, the place of the ledger and that of the banner."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from routers.topology import topology

register = template.Library()

# What was read is known only after the page has been rendered, so the middleware puts both in place of these.
LEDGER_PLACEHOLDER = "<!-- ledger -->"
BANNER_PLACEHOLDER = "<!-- banner -->"
# As many as the style sheet has; a ninth cluster shares the first one's, and has its name beside it.
COLOURS = 8


@register.simple_tag
def ledger() -> SafeString:
    return mark_safe(LEDGER_PLACEHOLDER)  # noqa: S308 - a constant


@register.simple_tag
def banner() -> SafeString:
    return mark_safe(BANNER_PLACEHOLDER)  # noqa: S308 - a constant


@register.simple_tag
def db_class(alias: str) -> str:
    """The class that carries the colour of the alias's cluster: db-1 to db-8, db-0 for an unknown alias."""
    position = topology().position_of(alias)
    return f"db-{(position - 1) % COLOURS + 1 if position else 0}"


@register.simple_tag
def db_badge(alias: str) -> SafeString:
    """The alias on its cluster's colour, outlined for a replica."""
    cluster = topology().cluster_of_alias(alias)
    replica = " is-replica" if cluster and alias != cluster.primary else ""
    return format_html('<span class="badge {}{}">{}</span>', db_class(alias), replica, alias)
