from datetime import timedelta

import factory
from django.utils import timezone

from apps.cache.models import CacheEntry


class CacheEntryFactory(factory.django.DjangoModelFactory[CacheEntry]):
    """An entry that lives for an hour; `expired=True` is one that no longer does."""

    class Meta:
        model = CacheEntry

    class Params:
        expired = factory.Trait(expires_at=factory.LazyFunction(lambda: timezone.now() - timedelta(hours=1)))

    key = factory.Sequence(lambda n: f"key:{n:04}")
    value = factory.Sequence(lambda n: {"number": n})
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(hours=1))
