"""An index that only one database can have, made without locking its table.

`hints` say where: the router runs the statement on users_db and, because SQLite knows no CONCURRENTLY, only where
users_db is PostgreSQL. CONCURRENTLY cannot run in a transaction, hence `atomic = False`.
"""

from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("users", "0001_initial")]

    operations = [
        migrations.RunSQL(
            # What Django's iexact compiles to on PostgreSQL, and so what a forgotten password looks up by address.
            sql=[
                # What an interrupted run leaves behind is an invalid index, which IF NOT EXISTS would take for done.
                "DROP INDEX CONCURRENTLY IF EXISTS users_user_email_upper",
                "CREATE INDEX CONCURRENTLY users_user_email_upper ON users_user (UPPER(email::text))",
            ],
            reverse_sql="DROP INDEX CONCURRENTLY IF EXISTS users_user_email_upper",
            hints={"target_db": "users_db", "target_vendor": "postgresql"},
        ),
    ]
