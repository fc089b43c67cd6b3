"""Markdown to HTML that is safe to show. It runs when a post is saved, never when one is read."""

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
# An image from another host would tell that host who reads here, and the site's CSP blocks it in any case.
# One long reference, used ten thousand times, would make a gigabyte of a hundred kilobytes.
PARSER.disable(["image", "reference"])
# The only div there is: a wide table scrolls in it, by keyboard too.
PARSER.add_render_rule("table_open", lambda *args: "<div><table>\n")
PARSER.add_render_rule("table_close", lambda *args: "</table></div>\n")

# fmt: off
TAGS = {
    "h2", "h3", "h4", "h5", "h6", "p", "br", "hr", "blockquote", "pre", "div", "ul", "ol", "li",
    "a", "em", "strong", "s", "code", "table", "thead", "tbody", "tr", "th", "td",
}
# fmt: on
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
TABLE_SCROLL = {"class": "table-scroll", "role": "group", "aria-label": "Table", "tabindex": "0"}


def render(text: str) -> SafeString:
    """The HTML of a Markdown text: raw HTML in it is shown as text, and only links to the web and to mail remain."""
    tokens = PARSER.parse(text)
    _nest_headings(tokens)
    html = PARSER.renderer.render(tokens, PARSER.options, {})
    return mark_safe(  # noqa: S308 - nh3 is what makes it safe
        nh3.clean(
            html,
            tags=TAGS,
            attributes=ATTRIBUTES,
            set_tag_attribute_values={"div": TABLE_SCROLL},
            url_schemes={"http", "https", "mailto"},
            link_rel="nofollow noopener noreferrer",
        )
    )


def _nest_headings(tokens: list[Token]) -> None:
    """Make the text's highest headings h2, under the page's h1, and let no level be left out below them."""
    open_levels: list[int] = []
    for token in tokens:
        if token.type == "heading_open":
            level = int(token.tag[1])
            open_levels = [outer for outer in open_levels if outer < level] + [level]
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(len(open_levels) + 1, 6)}"
