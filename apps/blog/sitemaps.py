from datetime import datetime

from django.contrib.sitemaps import Sitemap
from django.db.models import QuerySet

from apps.blog.models import Post
from apps.blog.selectors import published_posts


class PostSitemap(Sitemap):
    def items(self) -> QuerySet[Post]:
        return published_posts().only("slug", "updated_at")

    def lastmod(self, item: Post) -> datetime:
        return item.updated_at
