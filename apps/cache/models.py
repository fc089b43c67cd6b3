"""Cached values as rows, on cache_db: a SQLite file that is local to the node."""

from django.db import models
from django.urls import reverse
from django.utils import timezone

MAX_KEY_LENGTH = 250


class CacheEntry(models.Model):
    """A value under a key, JSON and never pickle, until `expires_at`."""

    key = models.CharField(max_length=MAX_KEY_LENGTH, unique=True)
    value = models.JSONField(null=True)
    expires_at = models.DateTimeField(db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("key",)
        verbose_name_plural = "cache entries"

    def __str__(self) -> str:
        return self.key

    def get_absolute_url(self) -> str:
        return reverse("cache:entry", args=[self.pk])

    @property
    def is_live(self) -> bool:
        return self.expires_at > timezone.now()
