from django.apps import AppConfig


class UsersConfig(AppConfig):
    name = "apps.users"
    holds = "people and what they may do"
