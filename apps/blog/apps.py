from django.apps import AppConfig


class BlogConfig(AppConfig):
    name = "apps.blog"
    nav = [("Blog", "blog:list")]
    holds = "posts, comments, and the blog's copy of its authors"

    def ready(self) -> None:
        from apps.blog import selectors
        from apps.blog.models import Comment, Post, UserProfile
        from apps.users.personal_data import register

        register(UserProfile, "profile", selectors.profile_held, fate="to be deleted")
        register(Post, "posts", selectors.posts_held, fate="to stay, as by a deleted user")
        register(Comment, "comments", selectors.comments_held, fate="to stay, as by a deleted user")
