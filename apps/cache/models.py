"""Cached values as rows, on cache_db: a SQLite file that is local to the node."""

from django.db import models


class CacheEntry(models.Model):
    """A value under a key, JSON and never pickle, until `expires_at`."""

    key = models.CharField(max_length=250, unique=True)
    value = models.JSONField(null=True)
    expires_at = models.DateTimeField(db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("key",)
        verbose_name_plural = "cache entries"

    def __str__(self) -> str:
        return self.key
