"""The plain ids become relations to the users. Columns, types and indexes stay, so that no database is told."""

from django.conf import settings
from django.db import migrations

from routers.relations import CrossDatabaseForeignKey

USER = settings.AUTH_USER_MODEL
OPTIONS = {"to": USER, "db_index": False}
FIELDS = (
    (
        "analyticsevent",
        CrossDatabaseForeignKey(**OPTIONS, on_delete="set null", null=True, blank=True, related_name="events"),
    ),
    ("useractivity", CrossDatabaseForeignKey(**OPTIONS, on_delete="cascade", related_name="activity")),
)


class Migration(migrations.Migration):
    dependencies = [("analytics", "0001_initial"), migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                operation
                for model, field in FIELDS
                for operation in (
                    migrations.RenameField(model, "user_id", "user"),
                    migrations.AlterField(model, "user", field),
                )
            ]
        )
    ]
