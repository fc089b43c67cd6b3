import re
from xml.etree import ElementTree as ET

import pytest
from django.template.loader import render_to_string

from apps.monitoring.diagram import WIDTH, diagram
from apps.monitoring.probes import probe_all
from tests.apps.monitoring.conftest import Lab

SVG = "{http://www.w3.org/2000/svg}"


def drawing(lab: Lab) -> ET.Element:
    svg = render_to_string("monitoring/_diagram.html", {"diagram": diagram(probe_all())})
    return ET.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def boxes(svg: ET.Element) -> list[tuple[int, int, int, int]]:
    found = []
    for group in svg.iter(f"{SVG}g"):
        if move := re.fullmatch(r"translate\((\d+) (\d+)\)", group.get("transform", "")):
            rect = group.find(f"{SVG}rect")
            assert rect is not None
            found.append((int(move[1]), int(move[2]), int(rect.get("width", 0)), int(rect.get("height", 0))))
    return found


def overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


@pytest.mark.parametrize(("clusters", "replicas"), [(1, 0), (1, 5), (5, 1), (12, 0), (12, 5)])
def test_boxes_are_inside_the_picture_and_apart(lab: Lab, clusters: int, replicas: int) -> None:
    for number in range(clusters):
        lab.cluster(f"c{number}", lab.folder / "none", f"app{number}")
        aliases = [f"c{number}_replica_{n}" for n in range(replicas)]
        for alias in aliases:
            lab.alias(alias, lab.folder / "none")
        lab.replicas(f"c{number}", *aliases)
    svg = drawing(lab)
    height = int(svg.get("viewBox", "").split()[3])
    found = boxes(svg)
    assert len(found) == 1 + clusters * (2 + replicas)
    assert all(x >= 0 and y >= 0 and x + w <= WIDTH and y + h <= height for x, y, w, h in found)
    assert not any(overlap(a, b) for i, a in enumerate(found) for b in found[:i])


def test_long_alias_is_cut_in_its_box_and_whole_in_its_title(lab: Lab) -> None:
    name = "timeseries_of_the_northern_hemisphere_2026_11"
    lab.cluster(name, lab.file("x", item=1), "blog")
    text = ET.tostring(drawing(lab), encoding="unicode")
    assert f"{name}, primary" in text
    labels = [node.text or "" for node in drawing(lab).iter(f"{SVG}text")]
    assert max(map(len, labels)) < len(name)


def test_database_that_is_down_is_drawn_and_described_so(lab: Lab) -> None:
    lab.cluster("shop", lab.folder / "none", "blog")
    svg = drawing(lab)
    assert any("node-down" in rect.get("class", "") for rect in svg.iter(f"{SVG}rect"))
    assert (svg.findtext(f"{SVG}desc") or "") == "Cluster shop: shop (primary) is down."
    assert "down, no such file" in ET.tostring(svg, encoding="unicode")


def test_ninth_cluster_has_a_colour_of_the_style_sheet(lab: Lab) -> None:
    for number in range(9):
        lab.cluster(f"c{number}", lab.folder / "none")
    assert [group.css for group in diagram(probe_all()).groups][-1] == "db-1"
