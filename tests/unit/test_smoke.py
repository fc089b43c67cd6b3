import pytest
from apps.users.models import User

@pytest.mark.django_db(databases=["default", "users_db", "analytics_db", "legacy_db", "cache_db"])
def test_user_is_written_to_users_db_and_not_to_default() -> None:
    User.objects.create(username="ada", email="ada@example.com")
    assert User.objects.using("users_db").count() == 1
