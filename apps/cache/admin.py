from django.contrib import admin
from django.utils import timezone

from apps.cache.models import CacheEntry
from routers.admin import MultiDBModelAdmin


@admin.register(CacheEntry)
class CacheEntryAdmin(MultiDBModelAdmin):
    list_display = ("key", "expires_at", "created_at", "is_fresh")
    list_filter = ("expires_at",)
    search_fields = ("key",)
    readonly_fields = ("created_at",)

    @admin.display(description="fresh", boolean=True)
    def is_fresh(self, entry: CacheEntry) -> bool:
        return entry.expires_at > timezone.now()
