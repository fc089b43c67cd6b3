import re
from datetime import datetime

from django.contrib.syndication.views import Feed
from django.urls import reverse_lazy
from django.utils.feedgenerator import Atom1Feed

from apps.blog import selectors
from apps.blog.models import Post

# What XML 1.0 cannot hold; Django's generator raises on most of it.
NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class NewestPosts(Feed):
    feed_type = Atom1Feed
    title = "Multi-Database Django"
    subtitle = "The newest posts of the blog."
    link = reverse_lazy("blog:list")

    def items(self) -> list[Post]:
        return selectors.feed_posts()

    def item_title(self, item: Post) -> str:
        return NOT_XML.sub("", item.title)

    def item_description(self, item: Post) -> str:
        return NOT_XML.sub("", item.content_html)

    def item_author_name(self, item: Post) -> str:
        profile = item.profile  # type: ignore[attr-defined]
        return NOT_XML.sub("", profile.display_name) if profile else "Deleted user"

    def item_categories(self, item: Post) -> list[str]:
        return [NOT_XML.sub("", tag.name) for tag in item.tags.all()]

    def item_pubdate(self, item: Post) -> datetime | None:
        return item.published_at

    def item_updateddate(self, item: Post) -> datetime:
        return item.updated_at
