from django import forms
from django.db.models import QuerySet

from apps.cache.models import MAX_KEY_LENGTH, CacheEntry
from apps.cache.selectors import EXPIRED, LIVE, list_entries


class EntryFilter(forms.Form):
    """Which entries to list. It has no required field, so that an empty query string is valid."""

    key = forms.CharField(
        label="Key begins with", max_length=MAX_KEY_LENGTH, required=False, strip=False, widget=forms.SearchInput
    )
    state = forms.ChoiceField(choices=[("", "Any"), (LIVE, "Live"), (EXPIRED, "Expired")], required=False)

    def entries(self) -> QuerySet[CacheEntry]:
        """Those that the filter finds; none while it is not valid."""
        if not self.is_valid():
            return CacheEntry.objects.none()
        return list_entries(prefix=self.cleaned_data["key"], state=self.cleaned_data["state"])
