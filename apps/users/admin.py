from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.forms import Field
from django.http import HttpRequest, HttpResponse

from apps.users import services
from apps.users.forms import LowercaseEmailField, UsernameField
from apps.users.models import User
from routers.admin import MultiDBModelAdmin

FIELD_CLASSES: dict[str, type[Field]] = {"username": UsernameField, "email": LowercaseEmailField}


class NewPersonForm(AdminUserCreationForm):
    class Meta(AdminUserCreationForm.Meta):
        field_classes = FIELD_CLASSES


class PersonForm(UserChangeForm):
    class Meta(UserChangeForm.Meta):
        field_classes = FIELD_CLASSES


@admin.register(User)
class UserAdmin(MultiDBModelAdmin, DjangoUserAdmin):
    """People, as Django's own admin edits them. Every change is announced, as those of services are."""

    form = PersonForm
    add_form = NewPersonForm
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_staff", "created_at")
    date_hierarchy = "created_at"
    readonly_fields = ("last_login", "email_confirmed_at", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Personal info", {"fields": ("first_name", "last_name", "email", "email_confirmed_at", "bio")}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Important dates", {"fields": ("last_login", "created_at", "updated_at")}),
    )
    add_fieldsets = (
        (
            None,
            {"classes": ("wide",), "fields": ("username", "email", "usable_password", "password1", "password2")},
        ),
    )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: Any) -> None:  # type: ignore[override]
        if "email" in form.changed_data:
            obj.email_confirmed_at = None
        super().save_model(request, obj, form, change)
        services.announce_saved(obj, is_new=not change)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002 - Django's name for it
        with self._transaction(request):
            return self._say_where(super().user_change_password(request, id, form_url))
