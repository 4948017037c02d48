"""The card below a notebook's cell: small, on its own, readable on light and dark pages."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser

import pytest

from fairprune_cli.report.notebook import MOST_ROWS, notebook_card
from tests.support import reports as fixture


class Tags(HTMLParser):
    """Names of the elements, their attributes, and whether each is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names, self.attributes, self.open = set[str](), set[str](), list[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("make", [fixture.full, fixture.hostile, fixture.several, fixture.audit_only, dict])
def test_it_loads_and_runs_nothing(make: object) -> None:
    page = notebook_card(make())  # type: ignore[operator]
    tags = Tags(page)
    assert tags.open == []
    assert tags.names <= {"div", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert tags.attributes == {"style"}
    assert "url(" not in page
    assert len(page.encode()) < 40_000


def test_text_has_the_pages_colour_and_backgrounds_are_tints() -> None:
    page = notebook_card(fixture.full())
    assert set(re.findall(r"(?<!-)\bcolor:([^;\"]+)", page)) == {"inherit"}
    backgrounds = set(re.findall(r"background:([^;\"]+)", page)) - {"transparent"}
    assert backgrounds
    assert all(float(re.fullmatch(r"rgba\(\d+,\d+,\d+,(\.\d+)\)", one)[1]) < 0.5 for one in backgrounds)  # type: ignore[index]


def test_it_says_the_verdict_the_groups_and_the_gates_that_did_not_pass() -> None:
    report = fixture.full()
    page = notebook_card(report)
    assert ">fail<" in page
    for gate in report["gates"]:
        assert (f">{gate['name']}</td>" in page) == (gate["verdict"] != "pass")
    assert "gender: female" in page
    many = copy.deepcopy(report)
    groups = many["results"]["pruned"]["attributes"]["age"]["groups"]
    for number in range(90):
        groups[f"{number} more"] = groups["0-20"]
    assert notebook_card(many).count("<tr") == notebook_card(report).count("<tr") <= 4 * (MOST_ROWS + 1)
    assert "more rows in the full report" in notebook_card(many)
    many["warnings"] = [{"code": "x", "text": f"word {n}"} for n in range(5)]
    assert "2 more warnings in report.warnings" in notebook_card(many).replace("\u202f", " ")
