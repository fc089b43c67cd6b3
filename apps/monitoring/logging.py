"""The alias in each line of the log."""

import logging

from routers.errors import alias_of


class AliasFilter(logging.Filter):
    """Gives each record an `alias`: its own, else that of the connection its exception came through, else "-"."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "alias"):
            error = record.exc_info[1] if record.exc_info else None
            record.alias = alias_of(error) or "-"
        return True
