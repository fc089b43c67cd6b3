from django.apps import AppConfig
from django.db.models.signals import post_delete, pre_delete


class UsersConfig(AppConfig):
    name = "apps.users"
    holds = "people and what they may do"

    def ready(self) -> None:
        from axes.models import AccessLog

        from apps.outbox.restoring import register_deletion
        from apps.users import personal_data, selectors, services
        from apps.users.models import User

        pre_delete.connect(services.forget, sender=User, dispatch_uid="users.forget")
        post_delete.connect(services.announce_deleted, sender=User, dispatch_uid="users.announce_deleted")
        personal_data.register(User, "account", selectors.account_held, fate="to be deleted")
        personal_data.register(AccessLog, "log-ins", selectors.log_ins_held, fate="to be deleted")
        register_deletion(User, lambda user: services.delete_user(user=user))
