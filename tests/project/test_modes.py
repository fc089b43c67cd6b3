"""DEBUG, DEMO and production: what each refuses, and what each shows."""

import shutil
import stat
from pathlib import Path

import pytest

from tests.project.conftest import Site

PRODUCTION = {"DEMO": "off", "SECRET_KEY": "k3y-" * 20 + "abcdefg", "ALLOWED_HOSTS": "example.com"}


@pytest.fixture
def production(site: Site) -> Site:
    site.env |= PRODUCTION
    return site


def ask(site: Site, path: str, *, host: str = "example.com", secure: bool = True) -> str:
    """What the site answers: status, then Location and the headers that matter."""
    code = (
        "from django.test import Client;"
        f"r = Client(headers={{'host': {host!r}}}).get({path!r}, secure={secure});"
        "print(r.status_code, r.headers.get('Location', ''), r.headers.get('Strict-Transport-Security', ''))"
    )
    return site.manage("shell", "--verbosity=0", "--command", code).splitlines()[-1].strip()


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("SECRET_KEY", "Set it (or SECRET_KEY_FILE) to a long random string; or set DEBUG=on to develop, or DEMO=on"),
        ("ALLOWED_HOSTS", "Set it to the host names of the site"),
    ],
)
def test_production_refuses_to_start_without(production: Site, name: str, remedy: str) -> None:
    del production.env[name]
    said = production.manage("check", status=1)
    assert f"{name} is not set." in said
    assert remedy in said


def test_deploy_check_finds_nothing_in_production(production: Site) -> None:
    assert "no issues (0 silenced)" in production.manage("check", "--deploy", "--fail-level", "WARNING")


def test_demo_on_a_public_host_is_a_deploy_error(site: Site) -> None:
    site.env["ALLOWED_HOSTS"] = "example.com"
    assert "demo.E001" in site.manage("check", "--deploy", status=1)


@pytest.mark.parametrize("value", ["ture", "2", "on,off"])
def test_mode_that_is_neither_on_nor_off_is_refused(site: Site, value: str) -> None:
    site.env["DEMO"] = value
    assert f"DEMO is {value!r}; it must be on or off." in site.manage("check", status=1)


def test_number_that_is_none_is_refused(site: Site) -> None:
    site.env["SLOW_QUERY_MS"] = "fast"
    assert "SLOW_QUERY_MS is 'fast'; it must be a whole number from 0 to" in site.manage("check", status=1)


def test_log_level_that_is_none_is_refused(site: Site) -> None:
    site.env["LOG_LEVEL"] = "verbose"
    said = site.manage("check", status=1)
    assert "LOG_LEVEL is 'verbose'; it must be DEBUG, INFO, WARNING, ERROR or CRITICAL." in said


def test_log_level_may_be_in_small_letters(site: Site) -> None:
    site.env["LOG_LEVEL"] = "error"
    code = "import logging; print(logging.getLevelName(logging.root.level))"
    assert "ERROR" in site.manage("shell", "--verbosity=0", "--command", code)


@pytest.mark.parametrize("url", ["smpt://user:s3cr3t@host", "smtp://u:s3cr3t/x@host:587", "smtp://u:s3cr3t[@host:25"])
def test_mail_url_that_cannot_be_read_is_refused_without_its_password(site: Site, url: str) -> None:
    site.env["EMAIL_URL"] = url
    said = site.manage("check", status=1)
    assert "EMAIL_URL cannot be read as the URL of a mail server. Expected smtp+tls://USER:PASSWORD@HOST:587" in said
    assert "s3cr3t" not in said


def test_key_of_the_demo_is_made_once_and_private(site: Site) -> None:
    runs = [site.start("check") for _ in range(3)]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    for run in runs:
        run.communicate()
    key = site.var / "secret_key"
    before = key.read_text()
    assert len(before) >= 50
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    site.manage("check")
    assert key.read_text() == before
    assert [path.name for path in site.var.glob("secret_key*")] == ["secret_key"]


def test_production_is_https_only_but_for_the_health_checks(production: Site) -> None:
    production.manage("collectstatic", "--no-input", "--verbosity=0")
    assert ask(production, "/users/login/", secure=False).startswith("301 https://example.com/users/login/")
    assert ask(production, "/healthz", secure=False).startswith("200")
    assert "max-age=31536000; includeSubDomains; preload" in ask(production, "/healthz")


def test_env_file_that_is_not_there_is_named(site: Site) -> None:
    site.env["ENV_FILE"] = "/nowhere/env"
    assert "ENV_FILE names /nowhere/env, which is not a file." in site.manage("check", status=1)


def test_page_is_served_while_developing_with_the_toolbar(site: Site) -> None:
    site.env |= {"DEMO": "off", "DEBUG": "on"}
    site.manage("migrate_all", "--verbosity=0")
    code = (
        "from django.test import Client;"
        "r = Client(headers={'host': 'localhost'}).get('/');"
        "print(r.status_code, b'djDebug' in r.content, b'class=\"ledger' in r.content)"
    )
    assert "200 True True" in site.manage("shell", "--verbosity=0", "--command", code)


def test_relative_var_dir_is_one_of_the_project_wherever_one_stands(site: Site) -> None:
    code = "from django.conf import settings; print(settings.VAR_DIR)"
    site.env["VAR_DIR"] = "var/of the tests"
    try:
        assert str(site.root / "var/of the tests") in site.manage("shell", "--verbosity=0", "--command", code)
    finally:
        shutil.rmtree(site.root / "var/of the tests", ignore_errors=True)


def test_header_of_a_trusted_proxy_says_https(production: Site) -> None:
    production.manage("collectstatic", "--no-input", "--verbosity=0")
    production.env["SECURE_PROXY_HEADER"] = "X-Forwarded-Proto"
    code = (
        "from django.test import Client;"
        "print(Client(headers={'host': 'example.com', 'x-forwarded-proto': 'https'}).get('/users/login/').status_code)"
    )
    assert production.manage("shell", "--verbosity=0", "--command", code).startswith("200")


def test_static_files_of_production_are_collected_and_hashed(production: Site) -> None:
    production.manage("collectstatic", "--no-input", "--verbosity=0")
    names = {path.name for path in (production.var / "static").iterdir()}
    assert {"site.css", "staticfiles.json"} <= names
    assert any(name.startswith("site.") and name not in ("site.css", "site.css.gz") for name in names)


def test_variables_are_read_from_the_file_that_env_file_names(site: Site, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("SLOW_QUERY_MS=77\nSOURCE_URL=https://example.com/source\n")
    # What the environment says itself wins.
    site.env |= {"ENV_FILE": str(tmp_path / "env"), "SLOW_QUERY_MS": "88"}
    code = "from django.conf import settings; print(settings.SLOW_QUERY_MS, settings.SOURCE_URL)"
    assert "88 https://example.com/source" in site.manage("shell", "--verbosity=0", "--command", code)
