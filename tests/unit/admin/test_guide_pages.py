"""The guides as pages: every link leads somewhere, and every section is found."""

from __future__ import annotations

import re

from support.tree import BROKER

from broker.admin.web.help.guides import GUIDES, guides, sections_with


def test_every_link_inside_the_guides_leads_to_a_section() -> None:
    places = {section.path for guide in guides() for section in guide.sections} | {f"/help/{name}" for name in GUIDES}
    found = [
        (guide.name, target if target.startswith("/") else f"/help/{guide.name}{target}")
        for guide in guides()
        for target in re.findall(r'href="([^"]+)"', guide.body)
        if not target.startswith("http")
    ]
    assert found
    assert [link for link in found if link[1] not in places] == []


def test_pages_link_sections_that_exist() -> None:
    places = {section.path for guide in guides() for section in guide.sections} | {f"/help/{name}" for name in GUIDES}
    texts = [path.read_text(encoding="utf-8") for path in (BROKER / "admin" / "templates").rglob("*.html")]
    asked = {call for text in texts for call in re.findall(r'\bguide\("([\w-]+)"(?:, "([\w-]+)")?\)', text)}
    assert asked
    assert {f"/help/{name}" + (f"#{anchor}" if anchor else "") for name, anchor in asked} - places == set()
    assert [link for text in texts for link in re.findall(r'href="(/help/[^"{]+)"', text) if link not in places] == []


def test_guides_hold_no_html_of_their_own_and_say_their_title_once() -> None:
    for guide in guides():
        assert "<h1" not in guide.body
        assert "<script" not in guide.body
        assert guide.title


def test_sections_are_found_by_all_words_headings_first() -> None:
    found = sections_with(["damaged", "database"])
    assert (found[0].guide, found[0].heading) == ("operate", "A damaged database")
    assert "damage" in found[0].excerpt(["damaged"]).casefold()
    assert sections_with(["damaged", "xyzzy"]) == []
