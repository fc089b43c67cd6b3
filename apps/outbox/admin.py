"""The messages of each outbox, on a page of its own for each database: an admin works on one."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from apps.outbox import services
from apps.outbox.models import Message
from apps.outbox.publishing import sources
from apps.outbox.selectors import DEAD, WAITING, unhandled
from routers.admin import MultiDBModelAdmin

STATES = {
    "waiting": WAITING & Q(attempts=0),
    "failing": WAITING & Q(attempts__gt=0),
    "dead": DEAD,
    "done": Q(done_at__isnull=False, dead_at=None),
    "discarded": Q(done_at__isnull=False, dead_at__isnull=False),
}


class StateFilter(admin.SimpleListFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(STATES.get(self.value() or "", Q()))


class MessageAdmin(MultiDBModelAdmin):
    """Shows what is sent and how it went, but not what it carries. Writes only by its two actions."""

    view_only_because = "View only: the relay moves messages on. A dead one can be replayed or discarded, in the list."
    list_display = ("created_at", "uid", "topic", "handler", "key", "state", "attempts", "due_at", "done_at", "problem")
    list_display_links = None
    list_filter = (StateFilter, "topic", "handler")
    search_fields = ("=uid", "=key")
    ordering = ("-id",)
    show_full_result_count = False
    actions = ("replay", "discard")

    def get_urls(self) -> list[Any]:
        """The list has it all. Any other page would make a content type for the proxy, on a safe request at that."""
        return [url for url in super().get_urls() if str(url.name).endswith("_changelist")]

    @admin.display
    def problem(self, message: Message) -> str:
        if unhandled([message.handler]) and not message.done_at:
            return "No handler of this name is in this code, so it waits until there is one."
        return message.error

    @admin.action(description="Deliver dead letters after all", permissions=["decide"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        self._say(request, services.replay(queryset), "to be delivered after all")

    @admin.action(description="Give dead letters up", permissions=["decide"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        self._say(request, services.discard(queryset), "given up")

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("outbox.view_message") or self.has_decide_permission(request)

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("outbox.change_message")

    def _say(self, request: HttpRequest, count: int, what: str) -> None:
        self.message_user(request, f"Dead letters {what}: {count}.", messages.SUCCESS if count else messages.WARNING)


def _model_for(alias: str) -> type[Message]:
    """A proxy, because the admin knows one page for each model."""

    class Meta:
        proxy = True
        app_label = Message._meta.app_label
        verbose_name = f"message on {alias}"
        verbose_name_plural = f"messages on {alias}"
        # Neither migrations nor permissions are made for it.
        auto_created = Message

    return type(f"Message_{alias}", (Message,), {"__module__": __name__, "Meta": Meta})


for _alias in sources():
    admin.site.register(_model_for(_alias), MessageAdmin, using=_alias)
