"""The lookups, on topologies of the tests' own."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from routers.topology import Cluster, Topology, topology


def cluster(name: str, *apps: str, **kwargs: object) -> Cluster:
    return Cluster(name, primary=f"{name}_db", apps=apps, **kwargs)  # type: ignore[arg-type]


BLOG = cluster("blog", "blog", replicas=("blog_replica",))
USERS = cluster("users", "users", "auth")
LEGACY = cluster("legacy", "legacy", read_only=True)


def test_app_is_found_by_its_label() -> None:
    assert Topology([BLOG, USERS]).cluster_of_app("auth") is USERS


def test_unknown_app_and_alias_belong_to_no_cluster() -> None:
    found = Topology([BLOG])
    assert found.cluster_of_app("shop") is None
    assert found.cluster_of_alias("shop_db") is None
    assert found.labels_on("shop_db") == frozenset()
    assert found.position_of("shop_db") == 0


def test_replica_belongs_to_the_cluster_of_its_primary() -> None:
    found = Topology([BLOG, USERS])
    assert found.cluster_of_alias("blog_replica") is BLOG
    assert found.labels_on("blog_replica") == {"blog"}
    assert found.position_of("blog_replica") == found.position_of("blog_db") == 1


def test_managed_aliases_are_the_primaries_that_are_ours() -> None:
    assert Topology([BLOG, USERS, LEGACY]).managed_aliases() == ("blog_db", "users_db")


def test_shared_app_lives_on_every_cluster_that_is_named() -> None:
    found = Topology([BLOG, USERS, LEGACY], {"outbox": ["blog", "users"]})
    assert found.clusters_of_app("outbox") == (BLOG, USERS)
    assert found.cluster_of_app("outbox") is None
    assert found.labels_on("users_db") == {"users", "auth", "outbox"}
    assert "outbox" not in found.labels_on("legacy_db")


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        ([BLOG, cluster("other", "blog")], "The app 'blog' is declared twice in CLUSTERS: in 'blog' and in 'other'."),
        ([BLOG, cluster("blog", "shop")], "The cluster 'blog' is declared twice"),
        ([BLOG, cluster("other", "shop", replicas=("blog_db",))], "The alias 'blog_db' is declared twice"),
    ],
)
def test_anything_declared_twice_is_refused(clusters: list[Cluster], message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        Topology(clusters)


def test_shared_app_on_an_unknown_cluster_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="SHARED_APPS puts 'outbox' on 'shop', which is not a cluster"):
        Topology([BLOG], {"outbox": ["shop"]})


def test_shared_app_on_no_cluster_at_all_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="SHARED_APPS names no cluster for 'outbox'; it needs at least one"):
        Topology([BLOG], {"outbox": []})


def test_app_that_is_shared_and_in_a_cluster_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="App 'blog' is both in a cluster and shared"):
        Topology([BLOG, USERS], {"blog": ["users"]})


def test_changed_setting_is_read_again(settings: object) -> None:
    before = topology()
    settings.SHARED_APPS = {}  # type: ignore[attr-defined]
    settings.CLUSTERS = (BLOG,)  # type: ignore[attr-defined]
    assert topology().clusters == (BLOG,)
    assert topology() is not before
