from django.apps import AppConfig


class BlogConfig(AppConfig):
    name = "apps.blog"
    nav = [("Blog", "blog:list")]
    holds = "posts, comments, and the blog's copy of its authors"

    def ready(self) -> None:
        from apps.blog import receivers
        from apps.users.signals import user_deleted, user_saved

        user_saved.connect(receivers.copy_profile, dispatch_uid="blog.copy_profile")
        user_deleted.connect(receivers.drop_profile, dispatch_uid="blog.drop_profile")
