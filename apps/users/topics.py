"""What the users app publishes, for apps whose databases it does not know.

SAVED       somebody is new or has changed                  {"id": …}
REGISTERED  somebody has made an account                    {"id": …, "at": when, in ISO 8601}
DELETED     somebody is gone, with all that was about them  {"id": …}

All under one key for each person. A message holds nothing of what it tells of: whoever is told asks selectors.people(),
and so neither copies what is out of date nor is a name left in an outbox when its owner has gone.
"""

from apps.outbox.registry import declare_topic

SAVED = declare_topic("users.saved")
REGISTERED = declare_topic("users.registered")
DELETED = declare_topic("users.deleted")
