"""The admin on several databases: each page reads, writes and locks on one alias, and says which."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import NestedObjects, quote
from django.contrib.admin.views.main import ChangeList
from django.core.checks import CheckMessage, Error
from django.core.exceptions import FieldDoesNotExist
from django.db import router, transaction
from django.db.models import ForeignKey, ManyToManyField, Model, QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.forms import ModelChoiceField, ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.text import capfirst
from django.views.decorators.csrf import csrf_protect

from routers.relations import CrossDatabaseForeignKey
from routers.topology import UnroutedApp, declared_in, topology

if TYPE_CHECKING:  # Django's admin classes are generic in its stubs only
    BaseModelAdmin = admin.options.BaseModelAdmin[Any]
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    StackedInline = admin.StackedInline[Any, Any]
else:
    from django.contrib.admin import ModelAdmin, StackedInline, TabularInline
    from django.contrib.admin.options import BaseModelAdmin

SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


class OnOneDatabase(BaseModelAdmin):
    """What a ModelAdmin and an inline have in common: their alias, and everything that asks for it.

    `using` is None for the primary of the model's cluster, or another alias of that cluster. A shared app needs it. On
    a replica, in a cluster that is read only and for a shared app, the pages only view.
    """

    using: str | None = None

    @property
    def database_alias(self) -> str:
        """Where these rows are read and written. Raises UnroutedApp when neither `using` nor the topology says."""
        cluster = topology().cluster_of_app(self.opts.app_label)
        if alias := self.using or (cluster and cluster.primary):
            return alias
        raise UnroutedApp(
            f"{type(self).__name__} cannot tell the database of {self.opts.label}: set `using` on it, or add the app "
            f"{self.opts.app_label!r} to a cluster in {declared_in()}."
        )

    @property
    def view_only_because(self) -> str:
        """A sentence that says why these pages only view; empty when they also write."""
        alias = self.database_alias
        cluster = topology().cluster_of_alias(alias)
        if cluster and cluster.read_only:
            return (
                "View only: this database is declared read only, because its schema and its rows are another system's."
            )
        if cluster and alias != cluster.primary:
            return f"View only: this is a replica of {cluster.primary}, which is where rows are changed."
        if self.opts.app_label in topology().shared:
            # Django validates a form's instance where the router says, and for these rows it says nothing.
            return "View only: tables of this kind are in several databases, and forms cannot tell which one is meant."
        return ""

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Django's checks, and routers.E005: `using` is an alias that has the model's table."""
        return [*super().check(**kwargs), *self._check_using()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(self.database_alias)

    def formfield_for_foreignkey(
        self, db_field: "ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> "ModelChoiceField[Any] | None":
        using = self.database_alias
        if isinstance(db_field, CrossDatabaseForeignKey):
            cluster = topology().cluster_of_app(db_field.related_model._meta.app_label)
            using = cluster.primary if cluster else using
        return super().formfield_for_foreignkey(db_field, request, **{"using": using, **kwargs})

    def formfield_for_manytomany(
        self, db_field: "ManyToManyField[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> "ModelMultipleChoiceField[Any] | None":
        return super().formfield_for_manytomany(db_field, request, **{"using": self.database_alias, **kwargs})

    # An inline is asked with the parent's row, a ModelAdmin without.
    def has_add_permission(self, *args: Any, **kwargs: Any) -> bool:
        return not self.view_only_because and super().has_add_permission(*args, **kwargs)

    def has_change_permission(self, *args: Any, **kwargs: Any) -> bool:
        return not self.view_only_because and super().has_change_permission(*args, **kwargs)

    def has_delete_permission(self, *args: Any, **kwargs: Any) -> bool:
        return not self.view_only_because and super().has_delete_permission(*args, **kwargs)

    def _check_using(self) -> list[CheckMessage]:
        clusters = topology().clusters_of_app(self.opts.app_label)
        aliases = [alias for cluster in clusters for alias in cluster.aliases]
        if self.using in aliases or (self.using is None and len(clusters) < 2):
            return []
        return [
            Error(
                f"The admin of {self.opts.label} has using = {self.using!r}, where that model has no table.",
                hint=f"Set `using` to {' or '.join(aliases)}.",
                obj=type(self),
                id="routers.E005",
            )
        ]


class PrefetchingChangeList(ChangeList):
    """Joins the relations that list_display names, and prefetches those that lead to another database.

    Before Django 6.1 a list with one relation joined all that the model has.
    """

    def apply_select_related(self, qs: QuerySet[Any]) -> QuerySet[Any]:
        listed = [field for field in self.lookup_opts.fields if field.name in self.list_display]
        across = {field.name for field in listed if isinstance(field, CrossDatabaseForeignKey)}
        joined = [field.name for field in listed if field.is_relation and field.name not in across]
        if self.list_select_related is not False:
            qs = super().apply_select_related(qs)
        elif joined:
            qs = qs.select_related(*joined)
        return qs.prefetch_related(*across)

    def get_ordering_field(self, field_name: Any) -> Any:
        """By the id, where Django would take the other model's own ordering, which is a join."""
        found = super().get_ordering_field(field_name)
        across = [field for field in self.lookup_opts.fields if isinstance(field, CrossDatabaseForeignKey)]
        return next((field.attname for field in across if field.name == found), found)


class MultiDBModelAdmin(OnOneDatabase, ModelAdmin):
    """A ModelAdmin that stays on one alias (see `using` above) from the list to the delete confirmation.

    Actions are transactions there. What the admin logs is on another database: it is written once the transaction of
    the model has been committed, so that nothing is logged that never happened.

    Templates get `database_alias`, and `view_only_because`.
    """

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PrefetchingChangeList

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Not into another database, which would be a join; Django answers 400."""
        return not _leads_across(self.model, lookup) and super().lookup_allowed(lookup, value, request)

    def get_inline_instances(
        self, request: HttpRequest, obj: Model | None = None
    ) -> list["admin.options.InlineModelAdmin[Any, Any]"]:
        """The inlines, each on the alias of this page."""
        inlines = super().get_inline_instances(request, obj)
        for inline in inlines:
            if isinstance(inline, OnOneDatabase):
                inline.using = self.using
        return inlines

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: Any) -> None:
        obj.save(using=self.database_alias)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: Any) -> None:
        for obj in formset.save(commit=False):
            obj.save(using=self.database_alias)
        for obj in formset.deleted_objects:
            obj.delete(using=self.database_alias)
        formset.save_m2m()

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        obj.delete(using=self.database_alias)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        queryset.using(self.database_alias).delete()

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """What would be deleted along with `objs`, on this page's alias; Django's own function asks the router.

        Returns the nested list to show, the counts by model, the permissions that lack, and what is protected.
        """
        collector: Any = NestedObjects(using=self.database_alias, origin=objs)
        collector.collect(objs)
        lacking = {
            str(model._meta.verbose_name)
            for model, instances in collector.model_objs.items()
            for instance in instances
            if not self._may_delete(request, instance)
        }
        counts = {str(model._meta.verbose_name_plural): len(found) for model, found in collector.model_objs.items()}
        protected = [self._link_to(obj) for obj in collector.protected]
        return collector.nested(self._link_to), counts, lacking, protected

    def _may_delete(self, request: HttpRequest, obj: Model) -> bool:
        if not self.admin_site.is_registered(obj._meta.model):
            return True
        return self.admin_site.get_model_admin(obj._meta.model).has_delete_permission(request, obj)

    def _link_to(self, obj: Any) -> str:
        opts = obj._meta
        name = capfirst(opts.verbose_name)
        if not self.admin_site.is_registered(opts.model):  # it has no page of its own
            return f"{name}: {obj}"
        url = reverse(f"{self.admin_site.name}:{opts.app_label}_{opts.model_name}_change", args=[quote(obj.pk)])
        return format_html('{}: <a href="{}">{}</a>', name, url, obj)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return self._say_where(super().changelist_view(request, extra_context))

    # Django's own two views below open their transaction where the router says.
    @method_decorator(csrf_protect)
    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        with self._transaction(request):
            response = self._changeform_view(  # type: ignore[attr-defined]
                request, object_id, form_url, extra_context
            )
            return self._say_where(response)

    @method_decorator(csrf_protect)
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with self._transaction(request):
            response = self._delete_view(request, object_id, extra_context)  # type: ignore[attr-defined]
            return self._say_where(response)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return self._say_where(super().history_view(request, object_id, extra_context))

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Run the chosen action in a transaction of its own, which Django does not open."""
        with self._transaction(request):
            return super().response_action(request, queryset, *args, **kwargs)

    def _transaction(self, request: HttpRequest) -> AbstractContextManager[Any]:
        return nullcontext() if request.method in SAFE_METHODS else transaction.atomic(using=self.database_alias)

    def _say_where(self, response: HttpResponse) -> HttpResponse:
        if isinstance(response, TemplateResponse):
            where = {"database_alias": self.database_alias, "view_only_because": self.view_only_because}
            response.context_data = {**(response.context_data or {}), **where}
        return response

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> None:  # type: ignore[override]
        self._log(partial(super().log_addition, request, obj, message))

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> None:  # type: ignore[override]
        self._log(partial(super().log_change, request, obj, message))

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:  # type: ignore[override]
        rows: Any = [_Deleted(obj) for obj in queryset]
        self._log(partial(super().log_deletions, request, rows))

    def _log(self, write: Callable[[], Any]) -> None:
        """Log now where the log is in the same transaction, else after its commit."""
        from django.contrib.admin.models import LogEntry

        if router.db_for_write(LogEntry) == self.database_alias:
            write()
        else:
            transaction.on_commit(write, using=self.database_alias, robust=True)


def _leads_across(model: type[Model], lookup: str) -> bool:
    """Whether a lookup needs a join between two databases, which the id of a row elsewhere, `author__id`, does not."""
    for part, following in pairwise([*lookup.split(LOOKUP_SEP), ""]):
        field: Any = _field_of(model, part)
        if not getattr(field, "path_infos", None):
            return False
        model = field.path_infos[-1].to_opts.model
        if isinstance(field, CrossDatabaseForeignKey):
            return _field_of(model, following) not in (None, field.target_field)
        if isinstance(getattr(field, "field", None), CrossDatabaseForeignKey):
            return True
    return False


def _field_of(model: type[Model], name: str) -> Any:
    with suppress(FieldDoesNotExist):
        return model._meta.get_field(name)
    return None


class _Deleted:
    """What the log needs to know of a row that is gone when it is written."""

    def __init__(self, obj: Model) -> None:
        self._meta, self.pk, self._text = obj._meta, obj.pk, str(obj)

    def __str__(self) -> str:
        return self._text


class MultiDBTabularInline(OnOneDatabase, TabularInline):
    """A table of related rows, on the alias of the page that it is part of."""


class MultiDBStackedInline(OnOneDatabase, StackedInline):
    """A stack of related rows, on the alias of the page that it is part of."""


class MultiDBAdminSite(admin.AdminSite):
    """An AdminSite on which every ModelAdmin is a MultiDBModelAdmin, those of other people's apps included."""

    def register(self, model_or_iterable: Any, admin_class: type[ModelAdmin] | None = None, **options: Any) -> None:
        plain = admin_class or ModelAdmin
        if not issubclass(plain, MultiDBModelAdmin):
            plain = type(f"MultiDB{plain.__name__}", (MultiDBModelAdmin, plain), {"__module__": plain.__module__})
        super().register(model_or_iterable, plain, **options)
