from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [
        ("outbox", "0002_tombstone"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                fields=["handler", "key"], name="outbox_held", condition=Q(done_at=None, due_at__isnull=False)
            ),
        ),
    ]
