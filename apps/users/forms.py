from typing import Any

from django import forms
from django.contrib.auth.forms import UserCreationForm, UsernameField
from django.core.exceptions import ValidationError
from django.urls import resolve

from apps.users.models import User

EMAIL_TAKEN = "There is already an account with this e-mail address. Log in with it, or ask for a new password."


class LowercaseEmailField(forms.EmailField):
    """One address is one person, however it is typed."""

    def to_python(self, value: Any) -> str:
        return str(super().to_python(value)).lower()


class SignUpForm(UserCreationForm):
    class Meta(UserCreationForm.Meta):
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

    def clean_username(self) -> str:
        """Refuse a name whose profile would be at an address that is taken, as that of `login` would be."""
        username = super().clean_username()
        if username and not _has_profile_page(username):
            raise ValidationError("This username is reserved. Choose another one.", code="reserved")
        return username


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

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise ValidationError("This is not your password. Nothing was deleted.", code="password_incorrect")
        return password


def _has_profile_page(username: str) -> bool:
    # Browsers take these two out of an address.
    if username in {".", ".."}:
        return False
    return resolve(f"/{username.lower()}/", urlconf="apps.users.urls").url_name == "profile"
