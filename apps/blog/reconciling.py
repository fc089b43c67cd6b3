"""What the blog has copied from others, for `manage.py reconcile`."""

from apps.blog.models import UserProfile
from apps.outbox.reconciling import register_copies
from apps.users.selectors import people
from apps.users.services import announce_again

register_copies(UserProfile, "user", originals=people, resend=announce_again)
