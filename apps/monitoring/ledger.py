"""Which databases served a request, and why."""


def note(text: str) -> None:
    """Add a sentence to the ledger of the request at hand, where there is one."""
