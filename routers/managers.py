"""Managers that are bound to one database."""

from functools import cache
from typing import Any, Self, TypeVar, cast

from django.core.checks import CheckMessage, Error
from django.db.models import Manager, Model

from routers.topology import declared_in, topology

_T = TypeVar("_T", bound=Model)


class MultiDatabaseManager(Manager[_T]):
    """A manager that always works on one alias: `replica = MultiDatabaseManager("read_replica_1")`.

    `using()` and `db_manager()` still move elsewhere. A subclass that overrides get_queryset() keeps the alias by
    beginning with super().get_queryset(). As a related manager (`post.comments(manager="replica")`) it reads on its
    alias; what is added there goes where Django puts it, which is for the router to say.

    An alias that does not hold the model's table is found by the system check routers.E006.
    """

    bound_to = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Django makes related managers from the class alone, so it is the class that has to know the alias.
        bind: Any = _bound
        bound = cls if cls.bound_to else bind(cls, *args, **kwargs)
        return cast(Self, super().__new__(bound, *args, **kwargs))

    def __init__(self, alias: str = "") -> None:
        super().__init__()
        self._db = self.bound_to

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        """Django's checks of a manager, and that its alias has the model's table."""
        return [*super().check(**kwargs), *self._check_alias()]

    def _check_alias(self) -> list[CheckMessage]:
        label = self.model._meta.app_label
        if label in topology().labels_on(self.bound_to):
            return []
        homes = [alias for cluster in topology().clusters_of_app(label) for alias in cluster.aliases]
        return [
            Error(
                f"{self.model._meta.label}.{self.name} is bound to {self.bound_to!r}, "
                f"where the app {label!r} has no tables.",
                hint=f"Bind it to {' or '.join(homes)}, or declare the app there in {declared_in()}.",
                obj=self.model,
                id="routers.E006",
            )
        ]


@cache  # one class for each alias, so that equal managers compare equal
def _bound(cls: Any, alias: str) -> Any:
    return type(cls.__name__, (cls,), {"bound_to": alias, "__module__": cls.__module__, "__doc__": cls.__doc__})
