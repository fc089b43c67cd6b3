"""What a driver's cursor can do that Django shows to no execute_wrapper, and that may write."""

from functools import cache
from typing import Any

from routers.guards import ask_guards
from routers.noting import note_write


class NotesWrites:
    alias: str

    def callproc(self, name: str, *args: Any, **kwargs: Any) -> Any:
        ask_guards(self.alias, f"CALL {name}")
        note_write(self.alias)
        return super().callproc(name, *args, **kwargs)  # type: ignore[misc]  # the driver's cursor has it

    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        ask_guards(self.alias, statement)
        note_write(self.alias)
        return super().copy(statement, *args, **kwargs)  # type: ignore[misc]  # the driver's cursor has it


@cache
def noting(cursor: Any, alias: str) -> Any:
    """The driver's class of cursors, for the connections of an alias."""
    return type(cursor.__name__, (NotesWrites, cursor), {"alias": alias})
