"""Databases of the tests' own: real files and real sockets, in a topology of their own."""

import re
import sqlite3
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker, Settings

from routers.topology import Cluster


class Lab:
    """Declares clusters on the databases that a test makes, and forgets them afterwards."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.added: list[str] = []
        settings.SHARED_APPS = {}
        settings.CLUSTERS = ()

    def file(self, name: str, **rows: int) -> Path:
        """A SQLite file with a table for each keyword, which holds that many rows."""
        path = self.folder / f"{name}.sqlite3"
        raw = sqlite3.connect(path)
        for table, number in rows.items():
            raw.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY)')
            raw.executemany(f'INSERT INTO "{table}" VALUES (?)', [(n,) for n in range(number)])
        raw.commit()
        raw.close()
        return path

    def alias(self, alias: str, name: object, **config: Any) -> None:
        options = config.pop("OPTIONS", {})
        config = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(name), "OPTIONS": options, **config}
        connections.settings[alias] = {**deepcopy(connections.settings["analytics_db"]), "TEST": {}, **config}
        self.added.append(alias)

    def cluster(self, name: str, database: object, *apps: str, read_only: bool = False, **config: Any) -> None:
        """A cluster whose primary alias has the cluster's name."""
        self.alias(name, database, **config)
        cluster = Cluster(name=name, primary=name, apps=apps, read_only=read_only)
        self.settings.CLUSTERS = (*self.settings.CLUSTERS, cluster)

    def replicas(self, name: str, *aliases: str) -> None:
        self.settings.CLUSTERS = tuple(
            Cluster(name=c.name, primary=c.primary, apps=c.apps, replicas=aliases if c.name == name else c.replicas)
            for c in self.settings.CLUSTERS
        )

    def forget(self) -> None:
        for alias in self.added:
            if hasattr(connections._connections, alias):  # type: ignore[attr-defined]
                connections[alias].close()
                del connections[alias]
            del connections.settings[alias]


@pytest.fixture
def lab(tmp_path: Path, settings: Settings, django_db_blocker: DjangoDbBlocker) -> Iterator[Lab]:
    """An empty topology; no database of the project is touched."""
    made = Lab(tmp_path, settings)
    with django_db_blocker.unblock():
        yield made
        made.forget()


@pytest.fixture
def broken(settings: Settings, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """An alias beside the project's own whose file cannot be opened, because its folder is not there."""
    clusters = settings.CLUSTERS
    made = Lab(tmp_path, settings)
    settings.CLUSTERS = clusters
    made.alias("broken", tmp_path / "gone" / "x.sqlite3")
    with django_db_blocker.unblock():
        yield "broken"
        made.forget()


@pytest.fixture
def own_urls(settings: Settings) -> None:
    """Only the framework and this app: what another app does on every page is its own affair."""
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not re.match(r"apps\.(?!monitoring)", name)]
    settings.ROOT_URLCONF = "tests.apps.monitoring.urls"
