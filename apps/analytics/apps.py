from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "apps.analytics"
    nav = [("Analytics", "analytics:overview")]
    holds = "events and daily reports"

    def ready(self) -> None:
        from apps.analytics import selectors
        from apps.analytics.models import AnalyticsEvent, UserActivity
        from apps.users.personal_data import register

        register(UserActivity, "activity", selectors.activity_held, fate="to be deleted")
        register(AnalyticsEvent, "events", selectors.events_held, fate="to stay, as nobody's")
