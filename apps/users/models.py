"""The people who can sign in. Their tables are on users_db, beside the contrib apps that hold keys to them."""

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """A person. `is_active` says whether they may sign in, `email_confirmed_at` whether the address is theirs."""

    date_joined = None  # type: ignore[assignment]  # created_at says the same
    email = models.EmailField("e-mail address", unique=True)
    bio = models.CharField(max_length=200, blank=True)
    email_confirmed_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def clean(self) -> None:
        super().clean()
        self.email = self.email.lower()

    def save(self, *args: Any, **kwargs: Any) -> None:
        # One address is one person, however it is typed and by whatever way it comes.
        self.email = self.email.lower()
        super().save(*args, **kwargs)

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username
