import pytest
from django.core import checks
from pytest_django import Settings

from apps.monitoring.checks import check_demo_hosts


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", ".localhost", "demo.localhost"])
def test_demo_on_this_machine_is_fine(settings: Settings, host: str) -> None:
    settings.DEMO, settings.ALLOWED_HOSTS = True, [host]
    assert check_demo_hosts() == []


@pytest.mark.parametrize("host", ["example.org", "*", "0.0.0.0", "127.0.0.1.example.org", ".example.org"])
def test_demo_for_others_is_an_error_with_its_remedy(settings: Settings, host: str) -> None:
    settings.DEMO, settings.ALLOWED_HOSTS = True, ["localhost", host]
    (error,) = check_demo_hosts()
    assert (error.id, error.level, error.obj) == ("demo.E001", checks.ERROR, host)
    assert "DEMO off" in str(error.hint)


def test_production_may_serve_any_host(settings: Settings) -> None:
    settings.DEMO, settings.ALLOWED_HOSTS = False, ["example.org"]
    assert check_demo_hosts() == []


def test_check_runs_with_deploy_only() -> None:
    for deploy in (True, False):
        names = [
            getattr(check, "__name__", "")
            for check in checks.registry.registry.get_checks(include_deployment_checks=deploy)
        ]
        assert ("check_demo_hosts" in names) is deploy
