"""The site with the pages of trouble_urls, and impatient, so that no test has to wait for long."""

from config.settings.base import *  # noqa: F403

ROOT_URLCONF = "tests.servers.trouble_urls"
REPLICA_MAX_LAG_SECONDS = 1
