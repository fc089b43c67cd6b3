from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from apps.blog.models import Comment, Post

MAX_TAGS = 5
MAX_TAG_LENGTH = 40
# Far more than anybody reads, and less than a full-text index takes.
MAX_CONTENT_LENGTH = 100_000


class SearchForm(forms.Form):
    q = forms.CharField(
        label="Search the posts", max_length=200, widget=forms.TextInput(attrs={"type": "search"}), required=False
    )


class PostForm(forms.ModelForm):
    """A post as its author edits it, with the tags as one line of text. Saved by services, not by save()."""

    tags = forms.CharField(
        required=False, max_length=400, help_text=f"At most {MAX_TAGS}, separated by commas.", label="Tags"
    )
    content = forms.CharField(
        max_length=MAX_CONTENT_LENGTH,
        widget=forms.Textarea(attrs={"rows": 18}),
        help_text="Markdown, with tables and ~~strikethrough~~.",
    )

    class Meta:
        model = Post
        fields = ("title", "summary", "content", "status")
        widgets = {"status": forms.RadioSelect, "summary": forms.Textarea(attrs={"rows": 2})}
        help_texts = {"summary": "A sentence or two for the lists.", "status": "Only you can see a draft."}

    field_order = ("title", "summary", "content", "tags", "status")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["tags"] = ", ".join(tag.name for tag in self.instance.tags.all())

    def clean_tags(self) -> list[str]:
        """The names, in lower case and each once."""
        words = (" ".join(name.lower().split()) for name in self.cleaned_data["tags"].split(","))
        names = list(dict.fromkeys(name for name in words if name))
        if len(names) > MAX_TAGS:
            raise ValidationError(f"A post has at most {MAX_TAGS} tags, and these are {len(names)}.")
        if long := next((name for name in names if len(name) > MAX_TAG_LENGTH), None):
            raise ValidationError(f"A tag has at most {MAX_TAG_LENGTH} characters, and “{long}” has {len(long)}.")
        return names


class CommentForm(forms.ModelForm):
    class Meta:
        model = Comment
        fields = ("content",)
        labels = {"content": "Your comment"}
        help_texts = {"content": "Plain text."}
        widgets = {"content": forms.Textarea(attrs={"rows": 4})}
