"""The order in which sync_user_data reads people. Made as the index of 0002 is, for the same reasons."""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("users", "0002_email_lookup")]

    operations = [
        migrations.RunSQL(
            sql=[
                "DROP INDEX CONCURRENTLY IF EXISTS users_user_changed",
                "CREATE INDEX CONCURRENTLY users_user_changed ON users_user (updated_at, id)",
            ],
            reverse_sql="DROP INDEX CONCURRENTLY IF EXISTS users_user_changed",
            hints={"target_db": "users_db", "target_vendor": "postgresql"},
        ),
    ]
