from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "apps.analytics"
    nav = [("Analytics", "analytics:overview")]
    holds = "events and daily reports"

    def ready(self) -> None:
        from apps.analytics.receivers import record_sign_up
        from apps.users.signals import user_registered

        user_registered.connect(record_sign_up, dispatch_uid="analytics.record_sign_up")
