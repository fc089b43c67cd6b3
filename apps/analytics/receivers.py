"""What other apps announce and analytics counts."""

from typing import Any

from apps.analytics import services
from apps.analytics.selectors import SIGN_UP


def record_sign_up(*, user_id: int, **kwargs: Any) -> None:
    services.record_event(event_type=SIGN_UP, user_id=user_id)
