import logging


class AliasFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "alias"):
            record.alias = "-"
        return True
