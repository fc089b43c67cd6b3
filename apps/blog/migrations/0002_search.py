"""The full-text index, where there is PostgreSQL. The expression is the one that `selectors.search` compiles to."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("blog", "0001_initial")]

    operations = [
        migrations.RunSQL(
            sql="""
                CREATE INDEX blog_post_search ON blog_post USING gin (
                    to_tsvector('english'::regconfig, COALESCE(title, '') || ' ' || COALESCE(content, ''))
                )
            """,
            reverse_sql="DROP INDEX blog_post_search",
            hints={"target_vendor": "postgresql"},
        ),
    ]
