"""The plain ids become relations to the users. Columns, types and indexes stay, so that no database is told."""

from django.conf import settings
from django.db import migrations

from routers.relations import CrossDatabaseForeignKey, CrossDatabaseOneToOneField

USER = settings.AUTH_USER_MODEL
FIELDS = (
    ("post", "author", CrossDatabaseForeignKey(USER, on_delete="keep", related_name="posts")),
    ("comment", "author", CrossDatabaseForeignKey(USER, on_delete="keep", related_name="comments")),
    (
        "userprofile",
        "user",
        CrossDatabaseOneToOneField(
            USER, on_delete="cascade", primary_key=True, related_name="profile", serialize=False
        ),
    ),
)


class Migration(migrations.Migration):
    dependencies = [("blog", "0002_search"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                operation
                for model, name, field in FIELDS
                for operation in (
                    migrations.RenameField(model, f"{name}_id", name),
                    migrations.AlterField(model, name, field),
                )
            ]
        )
    ]
