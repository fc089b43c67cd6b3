"""The settings of the test suite: the demo's, whatever the environment of the machine says.

The databases are SQLite's, in memory, but for those that TEST_DATABASE_URL, TEST_READ_REPLICA_URLS and so on put on
servers, as `python -m tests.servers` does.
"""

import atexit
import os
import re
import shutil
import tempfile

for _name in list(os.environ):
    if re.match(r"(?!TEST_).*(DATABASE|REPLICA_URLS|WEB_PROCESSES|DEBUG|ALLOWED_HOSTS|SOURCE_URL)", _name):
        del os.environ[_name]
# They stay as they are, too: a worker of pytest-xdist is a process that reads this again.
for _name in [_name for _name in os.environ if re.match(r"TEST_.*(DATABASE|REPLICA_URLS)", _name)]:
    os.environ[_name.removeprefix("TEST_")] = os.environ[_name]
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
from config.settings.databases import CLUSTERS, DATABASES, ENGINES, READ_ONLY_OPTIONS  # noqa: E402

# Argon2 is slow on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# It writes to the cache's database, which the test of a page need not ask for; tests/apps/analytics has it.  # demo
MIDDLEWARE = [name for name in MIDDLEWARE if "PageView" not in name]  # noqa: F405  # demo
DATABASE_GUARDS = "raise"
# No prober runs but those that a test starts.
DATABASE_PROBER = False
for _config in DATABASES.values():
    # Django would make each test database wait for that of `default`, which a test need not ask for.
    _config["TEST"] = {"DEPENDENCIES": [], **_config.get("TEST", {})}
    if _config.get("ENGINE") == ENGINES["mysql"]:
        _config["TEST"]["CHARSET"] = "utf8mb4"
# A session that refuses writes could not make the test's database, nor its rows, which the driver writes past Django.
for _cluster in CLUSTERS:
    if _cluster.read_only:
        for _option in READ_ONLY_OPTIONS.get(DATABASES[_cluster.primary]["ENGINE"], {}):
            del DATABASES[_cluster.primary]["OPTIONS"][_option]
