"""The settings of every mode. DEBUG is for developing, DEMO for showing, and neither of them is production."""

import importlib.util

from config.settings import lines
from config.settings.databases import (  # noqa: F401 - these are settings
    CLUSTERS,
    CLUSTERS_FILE,
    DATABASE_PROBE,
    DATABASE_ROUTERS,
    DATABASES,
    OWNER_DATABASES,
    SHARED_APPS,
    VAR_DIR,
)
from config.settings.environment import BASE_DIR, choice, email_settings, flag, number, text, words
from config.settings.secrets import generated_secret, required_secret

DEBUG = flag("DEBUG")
DEMO = flag("DEMO")
PRODUCTION = not (DEBUG or DEMO)
LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]

SECRET_KEY = required_secret("SECRET_KEY") if PRODUCTION else text("SECRET_KEY") or generated_secret(VAR_DIR)
ALLOWED_HOSTS = words("ALLOWED_HOSTS") or ([] if PRODUCTION else LOOPBACK)
CSRF_TRUSTED_ORIGINS = words("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    # The order is also that of the navigation.
    "routers",
    "apps.pages",  # demo
    "apps.users",
    "apps.blog",  # demo
    "apps.analytics",  # demo
    "apps.legacy",  # demo
    "apps.cache",
    "apps.outbox",
    "apps.monitoring",
    "apps.demo",  # demo
    "axes",
    "config.admin.SiteAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sitemaps",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "apps.monitoring.middleware.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # These two come before everything that queries a database, so that they see it all.
    "routers.middleware.RoutingMiddleware",
    "apps.monitoring.middleware.LedgerMiddleware",
    lines.CSP_MIDDLEWARE,
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "apps.analytics.middleware.PageViewMiddleware",  # demo
    "axes.middleware.AxesMiddleware",
]

if DEBUG and importlib.util.find_spec("debug_toolbar"):
    INSTALLED_APPS += ["debug_toolbar"]
    MIDDLEWARE.insert(0, "debug_toolbar.middleware.DebugToolbarMiddleware")
    INTERNAL_IPS = ["127.0.0.1", "::1"]
# Apps that have a place in the topology whether they are installed or not.
OPTIONAL_APPS = ["debug_toolbar"]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.monitoring.context_processors.site",
            ],
        },
    },
]
# The site's own field template has to be found before Django's.
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
INSTALLED_APPS += ["django.forms"]

AUTH_USER_MODEL = "users.User"
AUTHENTICATION_BACKENDS = ["apps.users.backends.LockoutBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "users:login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

# How many proxies of ours a request comes through: the visitor's address is what the outermost of them wrote.
TRUSTED_PROXIES = number("TRUSTED_PROXIES", 0)
CSRF_FAILURE_VIEW = "apps.monitoring.views.csrf_failure"

# Five failures for one name from one address, then a pause of 15 minutes. One address that tries many names is not
# stopped: axes has one limit for all parameters, and five for an address would lock out whole offices.
AXES_CLIENT_IP_CALLABLE = "apps.monitoring.addresses.client_address"
AXES_USERNAME_CALLABLE = "apps.users.attempts.tried_name"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False
# The fields of our forms whose values are not kept; "password" never is.
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "old_password", "new_password1", "new_password2"]
AXES_LOCKOUT_TEMPLATE = "users/locked_out.html"

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = VAR_DIR / "static"
WHITENOISE_USE_FINDERS = not PRODUCTION
if not PRODUCTION:  # nothing is collected, and whitenoise warns of a folder that is not there
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)

DEFAULT_FROM_EMAIL = text("DEFAULT_FROM_EMAIL", "site@localhost")
for _name, _value in lines.email_settings(
    email_settings("EMAIL_URL", "smtp://localhost:25" if PRODUCTION else "consolemail://")
).items():
    globals()[_name] = _value

# Web processes and relays in all, over all machines, and the threads of each: what the servers' max_connections have to
# allow for.
WEB_PROCESSES = number("WEB_PROCESSES", 2)
WEB_THREADS = number("WEB_THREADS", 8)

# A statement that names tables of two clusters is refused, also where both are in one database and it would work.
CROSS_DATABASE_SQL_GUARD = not PRODUCTION

SOURCE_URL = text("SOURCE_URL")
SLOW_QUERY_MS = number("SLOW_QUERY_MS", 200)
# What to do with a write to a second database inside a transaction, or on a safe request: "raise", "log" or "off".
DATABASE_GUARDS = "raise" if DEBUG else "log"
# A session is kept for the visitor, not for the page; and the toolbar keeps what it shows of each request.
SAFE_REQUEST_WRITERS = ["sessions", "debug_toolbar"]
# How often the relay looks for messages; after how many failures it gives one up; how old one may be until the site is
# "degraded"; for how long delivered ones are kept, which has to be longer than the oldest backup that may ever be
# restored is old.
OUTBOX_POLL_MS = number("OUTBOX_POLL_MS", 200, least=10)
OUTBOX_MAX_ATTEMPTS = number("OUTBOX_MAX_ATTEMPTS", 10, least=1, most=1000)
OUTBOX_LATE_SECONDS = number("OUTBOX_LATE_SECONDS", 300, least=1)
OUTBOX_RETENTION_DAYS = number("OUTBOX_RETENTION_DAYS", 30, least=1)
BACKUP_MAX_AGE_DAYS = number("BACKUP_MAX_AGE_DAYS", 14)
# Whoever sends it to /readyz as "Authorization: Bearer TOKEN" is told of each database.
READYZ_TOKEN = text("READYZ_TOKEN")
# /readyz answers 503 when the primary of one of these is down. The demo's main pages are the blog's, which visitors
# read without the users; what is left when the demo goes has no other pages than theirs.
READINESS_APPS = ["users"]
READINESS_APPS = ["blog"]  # demo

# Nothing from elsewhere, nothing inline, on every page.
globals().update(lines.CSP_SETTINGS)
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_LEVEL = choice("LOG_LEVEL", "WARNING" if DEMO else "INFO", LOG_LEVELS)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"alias": {"()": "apps.monitoring.logging.AliasFilter"}},
    "formatters": {
        "line": {"format": "{asctime} {levelname} [{alias}] {name}: {message}", "style": "{"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["alias"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {"django": {"handlers": [], "propagate": True}},
}

if PRODUCTION:
    from config.settings.production import *  # noqa: F403
