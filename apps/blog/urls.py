from django.contrib.sitemaps.views import sitemap
from django.urls import path

from apps.blog import views
from apps.blog.feeds import NewestPosts
from apps.blog.sitemaps import PostSitemap

app_name = "blog"
# A first part that could be a slug has to stand in services.RESERVED_SLUGS.
urlpatterns = [
    path("", views.post_list, name="list"),
    path("tag/<slug:slug>/", views.tag, name="tag"),
    path("search/", views.search, name="search"),
    path("write/", views.write, name="write"),
    path("mine/", views.mine, name="mine"),
    path("feed/", NewestPosts(), name="feed"),
    path("sitemap.xml", sitemap, {"sitemaps": {"posts": PostSitemap}}, name="sitemap"),
    path("<slug:slug>/", views.post, name="post"),
    path("<slug:slug>/edit/", views.edit, name="edit"),
    path("<slug:slug>/delete/", views.delete, name="delete"),
    path("<slug:slug>/comments/<int:comment_id>/delete/", views.delete_comment, name="delete_comment"),
]
