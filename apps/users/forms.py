from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib.auth import authenticate
from django.contrib.auth import forms as auth
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import Resolver404, resolve
from django.views.decorators.debug import sensitive_variables

from apps.users import cooldown
from apps.users.models import User

EMAIL_TAKEN = "There is already an account with this e-mail address. Log in with it, or ask for a new password."


class LowercaseEmailField(forms.EmailField):
    """One address is one person, however it is typed."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).lower()


class UsernameField(auth.UsernameField):
    """A name whose profile is not at an address that is taken, as that of `login` would be."""

    def clean(self, value: Any) -> Any:
        username = super().clean(value)
        if not _has_profile_page(username):
            raise ValidationError("This username is reserved. Choose another one.", code="reserved")
        return username


class SignUpForm(auth.UserCreationForm):
    class Meta(auth.UserCreationForm.Meta):
        model = User
        fields = ("username", "email")
        field_classes = {"username": UsernameField, "email": LowercaseEmailField}
        widgets = {"email": forms.EmailInput(attrs={"autocomplete": "email"})}
        help_texts = {
            "username": "Letters, digits and @ . + - _ only. The name becomes part of the address of your profile.",
            "email": "We send a link there to confirm that it is yours. Nobody else sees it.",
        }
        error_messages = {
            "username": {"unique": "This username is taken. Choose another one."},
            "email": {"unique": EMAIL_TAKEN},
        }


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ("first_name", "last_name", "bio", "email")
        field_classes = {"email": LowercaseEmailField}
        widgets = {
            "first_name": forms.TextInput(attrs={"autocomplete": "given-name"}),
            "last_name": forms.TextInput(attrs={"autocomplete": "family-name"}),
            "bio": forms.Textarea(attrs={"rows": 3}),
            "email": forms.EmailInput(attrs={"autocomplete": "email"}),
        }
        help_texts = {
            "bio": "A sentence or two for your profile, at most 200 characters.",
            "email": "When you change it, we send a link to the new address to confirm that it is yours.",
        }
        error_messages = {"email": {"unique": EMAIL_TAKEN}}

    def clean_bio(self) -> str:
        return " ".join(self.cleaned_data["bio"].split())


class DeleteAccountForm(forms.Form):
    password = forms.CharField(
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        help_text="Type it once more, so that nobody deletes your account from a screen you left open.",
    )

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    @sensitive_variables("password")
    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not _is_own_password(self.request, password):
            raise ValidationError("This is not your password. Nothing was deleted.", code="password_incorrect")
        return password


class PasswordChangeForm(auth.PasswordChangeForm):
    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    @sensitive_variables("password")
    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        if not _is_own_password(self.request, password):
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return password


class PasswordResetForm(auth.PasswordResetForm):
    def get_users(self, email: str) -> Iterator[User]:
        """Those who are mailed, without whoever was just now."""
        return (user for user in super().get_users(email) if cooldown.claim("reset", user.email))


@sensitive_variables("password")
def _is_own_password(request: HttpRequest, password: str) -> bool:
    """Asked as a log-in is, so that axes counts what is wrong and refuses everything after too much of it."""
    return authenticate(request, username=request.user.get_username(), password=password) is not None


def _has_profile_page(username: str) -> bool:
    # Browsers take these two out of an address.
    if username in {".", ".."}:
        return False
    try:
        return resolve(f"/{username.lower()}/", urlconf="apps.users.urls").url_name == "profile"
    except Resolver404:
        return False
