from django import forms
from django.db.models import QuerySet

from apps.legacy.models import LegacyCustomer
from apps.legacy.selectors import OTHER_STATUS, customers_matching


class CustomerFilter(forms.Form):
    """Which customers to show. It has no required field, so that an empty query string is valid."""

    q = forms.CharField(label="Name, e-mail or number", max_length=100, required=False, widget=forms.SearchInput)
    status = forms.ChoiceField(
        choices=[("", "Any"), *LegacyCustomer.Status.choices, (OTHER_STATUS, "None or unknown")], required=False
    )

    def customers(self) -> QuerySet[LegacyCustomer]:
        """Those that the filter finds; none while it is not valid."""
        if not self.is_valid():
            return LegacyCustomer.objects.none()
        return customers_matching(text=self.cleaned_data["q"], status=self.cleaned_data["status"])
