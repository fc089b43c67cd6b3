"""What the users app announces, after the commit on users_db, to apps whose databases it does not know.

user_registered, user_saved  keyword data: user_id, username, display_name, bio
user_deleted                 keyword data: user_id

A new person is announced by both user_saved and user_registered. A receiver that fails is logged and does not undo
anything: the two databases have no transaction in common.
"""

from django.dispatch import Signal

user_registered = Signal()
user_saved = Signal()
user_deleted = Signal()
