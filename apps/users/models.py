"""The people who can sign in. Their tables are on users_db, beside the contrib apps that hold keys to them."""

from typing import Any, ClassVar

from asgiref.sync import sync_to_async
from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models, router, transaction

from apps.users import attempts


class PeopleManager(UserManager["User"]):
    """Django's, but whoever is made by create_user() or create_superuser() is announced like those who sign up."""

    # A migration that makes users has nobody to tell.
    use_in_migrations = False

    def _create_user(self, *args: Any, **kwargs: Any) -> "User":
        from apps.users.services import announce_saved  # needs this module

        user: User = self._create_user_object(*args, **kwargs)  # type: ignore[attr-defined]  # not in the stubs
        home = router.db_for_write(self.model)
        using = self._db or home
        with transaction.atomic(using=using):
            user.save(using=using)
            # Elsewhere it is a copy for somebody to move, and no account.
            if using == home:
                announce_saved(user, is_new=True)
        return user

    async def _acreate_user(self, *args: Any, **kwargs: Any) -> "User":
        return await sync_to_async(self._create_user)(*args, **kwargs)


class User(AbstractUser):
    """A person. `is_active` says whether they may sign in, `email_confirmed_at` whether the address is theirs."""

    date_joined = None  # type: ignore[assignment]  # created_at says the same
    email = models.EmailField("e-mail address", unique=True)
    bio = models.CharField(max_length=200, blank=True)
    email_confirmed_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[PeopleManager] = PeopleManager()

    def clean(self) -> None:
        super().clean()
        self.email = self.email.lower()

    def save(self, *args: Any, **kwargs: Any) -> None:
        # One address is one person, however it is typed and by whatever way it comes.
        self.email = self.email.lower()
        super().save(*args, **kwargs)

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        """As Django's; a person who gets another name takes their log-ins along, in the same transaction."""
        fields = kwargs.get("update_fields")
        if self._state.adding or (fields is not None and "username" not in fields):
            super().save_base(*args, **kwargs)
            return
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using, savepoint=False):
            stored = User.objects.using(using).select_for_update().filter(pk=self.pk)
            before = stored.values_list("username", flat=True).first()
            super().save_base(*args, **kwargs)
            if before not in (None, self.username):
                attempts.rename(str(before), self.username, using=using)

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username

    @property
    def public_data(self) -> dict[str, Any]:
        """What other databases may keep of a person."""
        return {"user_id": self.pk, "username": self.username, "display_name": self.display_name, "bio": self.bio}
