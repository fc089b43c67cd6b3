"""What happened on the site. Its tables are on analytics_db, which may be slow or down without a visitor noticing."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from routers.relations import CASCADE, SET_NULL, CrossDatabaseForeignKey


class AnalyticsEvent(models.Model):
    """One thing that happened: a page view, a sign-up, …"""

    event_type = models.CharField(max_length=40)
    user = CrossDatabaseForeignKey(
        settings.AUTH_USER_MODEL, on_delete=SET_NULL, null=True, blank=True, db_index=False, related_name="events"
    )
    session_id = models.CharField(max_length=40, blank=True)
    timestamp = models.DateTimeField(default=timezone.now)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ("-timestamp", "-id")
        indexes = (
            models.Index(fields=["event_type", "timestamp"], name="analytics_event_type_time"),
            models.Index(fields=["user_id", "timestamp"], name="analytics_event_user_time"),
        )

    def __str__(self) -> str:
        return f"{self.event_type} at {self.timestamp:%Y-%m-%d %H:%M}"


class UserActivity(models.Model):
    """A page that a signed-in user has viewed."""

    user = CrossDatabaseForeignKey(settings.AUTH_USER_MODEL, on_delete=CASCADE, db_index=False, related_name="activity")
    page_viewed = models.CharField(max_length=200)
    timestamp = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "user_activity"
        ordering = ("-timestamp", "-id")
        verbose_name_plural = "user activity"
        indexes = (models.Index(fields=["user_id", "timestamp"], name="user_activity_user_time"),)

    def __str__(self) -> str:
        return f"{self.user_id}: {self.page_viewed}"


class AnalyticsReport(models.Model):
    """One day's figures, counted from the events once the day is over."""

    date = models.DateField(unique=True)
    page_views = models.PositiveIntegerField(default=0)
    visitors = models.PositiveIntegerField(default=0)
    sign_ups = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-date",)

    def __str__(self) -> str:
        return f"{self.date:%Y-%m-%d}"
