"""The topology as a drawing: the site, its clusters, their primaries, and what streams from them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from apps.monitoring.probes import Status, labels_on
from apps.monitoring.templatetags.databases import db_class
from routers.health import PRIMARY
from routers.topology import Cluster, topology

# Columns as (left edge, width): the site, the clusters, the primaries, the replicas.
SITE, CLUSTER, PRIMARIES, REPLICAS = (1, 78), (115, 130), (281, 220), (539, 220)
WIDTH, HEIGHT, GAP, CLUSTER_GAP = 760, 46, 10, 22
# How wide a character of the label and of the line under it is, at most.
LABEL_WIDTH, SUB_WIDTH = 8.6, 6.4


@dataclass(frozen=True)
class Node:
    """A box with a name, a line under it, and the whole text for whom these are cut short."""

    x: int
    y: int
    width: int
    label: str
    sub: str
    classes: str
    title: str

    @property
    def middle(self) -> int:
        return self.y + HEIGHT // 2


@dataclass(frozen=True)
class Edge:
    path: str
    streams: bool = False


@dataclass
class Group:
    """A cluster's boxes and lines, in its colour."""

    css: str
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)


@dataclass(frozen=True)
class Diagram:
    site: Node
    trunk: list[str]
    groups: list[Group]
    description: str
    height: int
    width: int = WIDTH
    node_height: int = HEIGHT


def diagram(statuses: Sequence[Status]) -> Diagram:
    """Lay out the whole topology; each replica below the one before it, each cluster below its predecessor."""
    by_alias = {status.alias: status for status in statuses}
    heights = [max(len(cluster.replicas), 1) * (HEIGHT + GAP) - GAP for cluster in topology().clusters]
    total = sum(heights) + CLUSTER_GAP * (len(heights) - 1)
    site = _node(SITE, total // 2, "site", "Django", "node", "This site")
    groups, top = [], 0
    for cluster, height in zip(topology().clusters, heights, strict=True):
        groups.append(_group(cluster, by_alias, top, height))
        top += height + CLUSTER_GAP
    trunk = [_path(site, group.nodes[0]) for group in groups]
    return Diagram(site, trunk, groups, " ".join(_sentences(by_alias)), total + 2)


def _group(cluster: Cluster, by_alias: dict[str, Status], top: int, height: int) -> Group:
    centre = top + height // 2
    labels = ", ".join(labels_on(cluster.primary))
    home = _node(CLUSTER, centre, cluster.name, labels, "node", f"Cluster {cluster.name}: {labels}")
    primary = _database(PRIMARIES, centre, by_alias[cluster.primary])
    group = Group(db_class(cluster.primary), [home, primary], [Edge(_path(home, primary))])
    for row, alias in enumerate(cluster.replicas):
        replica = _database(REPLICAS, top + HEIGHT // 2 + row * (HEIGHT + GAP), by_alias[alias])
        group.nodes.append(replica)
        group.edges.append(Edge(_path(primary, replica), streams=True))
    return group


def _database(column: tuple[int, int], centre: int, status: Status) -> Node:
    kind = "primary" if status.role == PRIMARY else "replica"
    classes = f"node node-{kind}" if status.is_up else f"node node-{kind} node-down"
    engine = f"{status.facts.engine} {status.facts.version}" if status.facts else ""
    lag = f"{status.lag_text} behind" if status.health.lag_bytes else ""
    sub = ", ".join(filter(None, [status.state, status.remark or lag or engine]))
    return _node(column, centre, status.alias, sub, classes, f"{status.alias}, {status.role}: {sub}")


def _node(column: tuple[int, int], centre: int, label: str, sub: str, classes: str, title: str) -> Node:
    x, width = column
    room = width - 20
    label, sub = _cut(label, int(room / LABEL_WIDTH)), _cut(sub, int(room / SUB_WIDTH))
    return Node(x, centre - HEIGHT // 2 + 1, width, label, sub, classes, title)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _path(left: Node, right: Node) -> str:
    start, end = left.x + left.width, right.x
    bend = (start + end) // 2
    return f"M{start} {left.middle}H{bend}V{right.middle}H{end}"


def _sentences(by_alias: dict[str, Status]) -> Iterator[str]:
    for cluster in topology().clusters:
        states = ", ".join(f"{alias} ({by_alias[alias].role}) is {by_alias[alias].state}" for alias in cluster.aliases)
        yield f"Cluster {cluster.name}: {states}."
