from django.db import migrations


class Migration(migrations.Migration):
    """Changes no table: migrations get a plain manager from here on."""

    dependencies = [
        ("users", "0003_changed"),
    ]

    operations = [
        migrations.AlterModelManagers(name="user", managers=[]),
    ]
