from django.contrib import admin

from apps.analytics.models import AnalyticsEvent, AnalyticsReport, UserActivity
from routers.admin import MultiDBModelAdmin


class _LongTableAdmin(MultiDBModelAdmin):
    """For tables of millions of rows: newest first by the primary key, and counted no more often than it must be."""

    # The server would refuse it: docker/postgres/roles.sql gives the site's role SELECT and INSERT only.
    view_only_because = "View only: what has happened stays as it was recorded."
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(AnalyticsEvent)
class AnalyticsEventAdmin(_LongTableAdmin):
    list_display = ("timestamp", "event_type", "user", "session_id")
    list_filter = ("timestamp", "event_type")
    search_fields = ("=event_type", "=user__id", "=session_id")


@admin.register(UserActivity)
class UserActivityAdmin(_LongTableAdmin):
    list_display = ("timestamp", "user", "page_viewed")
    list_filter = ("timestamp",)
    search_fields = ("=user__id", "page_viewed")


@admin.register(AnalyticsReport)
class AnalyticsReportAdmin(MultiDBModelAdmin):
    view_only_because = "View only: reports are counted from the events, by manage.py make_reports."
    list_display = ("date", "page_views", "visitors", "sign_ups")
    search_fields = ("date",)
    date_hierarchy = "date"
    readonly_fields = ("created_at",)
