"""Keeps the blog's copy of its authors in step with the users app, which announces every change by signal."""

from typing import Any

from apps.blog import services


def copy_profile(*, user_id: int, username: str, display_name: str, bio: str, **kwargs: Any) -> None:
    """Receiver of user_saved."""
    services.save_profile(user_id=user_id, username=username, display_name=display_name, bio=bio)


def drop_profile(*, user_id: int, **kwargs: Any) -> None:
    """Receiver of user_deleted. What they wrote stays, as by a deleted user."""
    services.delete_profile(user_id=user_id)
