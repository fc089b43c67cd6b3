"""The settings of the test suite: the demo's on SQLite, whatever the environment of the machine says."""

import atexit
import os
import shutil
import tempfile

for _name in list(os.environ):
    if _name.removesuffix("_FILE").endswith(("DATABASE_URL", "REPLICA_URLS", "DEBUG", "ALLOWED_HOSTS", "SOURCE_URL")):
        del os.environ[_name]
_folder = tempfile.mkdtemp(prefix="multidb-test-")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
os.environ.update(
    ENV_FILE="",
    DEMO="on",
    SECRET_KEY="for tests only",  # noqa: S106
    EMAIL_URL="memorymail://",
    VAR_DIR=_folder,
)

from config.settings.base import *  # noqa: E402, F403
from config.settings.databases import DATABASES  # noqa: E402

# Argon2 is slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Events are written when a test says flush(), on its own connection.
ANALYTICS_RECORDER_THREAD = False
# Django would make each test database wait for that of `default`, which a test need not ask for.
for _config in DATABASES.values():
    _config["TEST"] = {"DEPENDENCIES": [], **_config.get("TEST", {})}
