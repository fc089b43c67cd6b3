import re
import time
from html.parser import HTMLParser

import pytest

from apps.blog import markdown


def elements(html: str) -> set[str]:
    """The elements and the attributes that a browser would see."""
    found: set[str] = set()

    class Parser(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update((tag, *(f"{tag} {name}" for name, _ in attrs)))

    Parser().feed(html)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        '<a href="x" onclick="alert(1)">x</a>',
        "<iframe src='https://example.com'></iframe>",
        '[x](https://example.com "&quot; onmouseover=alert(1)")',
        "```<img src=x onerror=alert(1)>\n```",
    ],
)
def test_raw_html_becomes_text(text: str) -> None:
    assert elements(markdown.render(text)) <= {"p", "pre", "code", "a", "a href", "a title", "a rel"}


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "&#106;avascript:alert(1)",
        "vbscript:x",
        "data:text/html;base64,PHNjcmlwdD4=",
        "file:///etc/passwd",
        "ftp://example.com",
    ],
)
def test_links_to_other_schemes_lose_their_address(url: str) -> None:
    assert "href" not in markdown.render(f"[x]({url}) <{url}>")


def test_links_are_nofollow() -> None:
    html = markdown.render("[x](https://example.com)")
    assert html == '<p><a href="https://example.com" rel="nofollow noopener noreferrer">x</a></p>\n'


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("# a\n## b\n### c", "234"),
        ("## a\n### b\n## c", "232"),
        ("### a\n# b", "22"),
        ("# a\n#### b\n## c", "233"),
        ("# a\n## b\n### c\n#### d\n##### e\n###### f", "234566"),
        ("> # a\n\nb\n===", "22"),
    ],
)
def test_headings_begin_under_the_h1_of_the_page_and_skip_no_level(text: str, levels: str) -> None:
    html = markdown.render(text)
    assert "".join(re.findall(r"<h(\d)>", html)) == "".join(re.findall(r"</h(\d)>", html)) == levels


def test_tables_and_strikethrough_are_rendered_without_inline_style() -> None:
    html = markdown.render("| a | b |\n|---|--:|\n| ~~c~~ | d |")
    assert "<td><s>c</s></td>" in html
    assert "style" not in html


def test_wide_table_scrolls_in_a_box_that_a_keyboard_reaches() -> None:
    html = markdown.render("| a |\n|---|\n\n<div class=x>")
    assert elements(html) >= {"div tabindex", "div role", "div aria-label"}
    assert html.count("<div") == html.count("</div>") == 1
    assert "&lt;div class=x&gt;" in html


def test_image_is_not_loaded_from_another_host() -> None:
    assert "<img" not in markdown.render("![a](https://example.com/a.png)")


def test_a_reference_cannot_multiply_the_text() -> None:
    text = "[a]: http://" + "x" * 50_000 + "\n\n" + "[a]" * 16_000
    assert len(markdown.render(text)) < 2 * len(text)


@pytest.mark.parametrize("unit", ["[", "*a ", ">", "![[", "([", "<", "|a|b\n|-|-\n", "~~a"])
def test_hostile_text_is_rendered_in_reasonable_time(unit: str) -> None:
    start = time.process_time()
    markdown.render((unit * 100_000)[:100_000])
    assert time.process_time() - start < 10
