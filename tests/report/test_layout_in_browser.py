"""How headless Chromium lays report.html out, on screens, phones and paper."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fairprune_cli import report
from tests.support import reports as fixture
from tests.support.browser import laid_out, needs_chromium, printed_pages
from tests.support.kinds_of_report import REPORTS

WIDTHS = (1280, 390)
HIGHEST = 8000  # pixels of a page that is 1280 wide, before anything is unfolded


@needs_chromium
def test_nothing_is_wider_than_its_box_or_broken_and_nothing_is_fetched_or_run(tmp_path: Path) -> None:
    pages = {name: report.render(make(), "html") for name, make in REPORTS.items()}
    found, console = laid_out(tmp_path, pages, WIDTHS)
    assert console == []
    assert [(page["name"], page["width"]) for page in found] == [(n, w) for n in pages for w in WIDTHS]
    for page in found:
        for state in ("folded", "open"):
            where, seen = (page["name"], page["width"], state), page[state]
            assert seen["scroll"] <= page["width"], where
            assert seen["beyond"] == [], where
            assert page["name"] == "hostile" or seen["broken"] == [], where
        assert page["scripts"] == 0
        assert page["loads"] == 0
        assert page["title"] != "owned"
        if page["width"] == 1280:
            assert page["folded"]["height"] <= HIGHEST, page["name"]
    drawn = {page["width"]: page["open"]["pictures"] for page in found if page["name"] == "full"}
    assert drawn[1280] == drawn[390] > 10  # of the two drawings of each figure one is shown, never both


@needs_chromium
def test_the_probe_sees_overflow_broken_numbers_and_errors_and_the_page_follows_the_dark_scheme(tmp_path: Path) -> None:
    bad = '<!DOCTYPE html><meta name="viewport" content="width=device-width"><p style="width:2000px">wide</p>'
    bad += '<p style="width:3em;overflow-wrap:anywhere">1234567890</p>'
    page = report.render(fixture.full(), "html")
    pages = {"bad": f"{bad}<script>console.error('seen')</script>", "full": page}
    found, console = laid_out(tmp_path, pages, WIDTHS, dark=True)
    assert any("seen" in line for line in console)
    for item in found:
        if item["name"] == "bad":
            assert item["folded"]["scroll"] > item["width"]
            assert item["folded"]["beyond"]
            assert item["folded"]["broken"] == ["1234567890"]
        else:
            assert sum(map(int, re.findall(r"\d+", item["paper"])[:3])) < 150


@needs_chromium
@pytest.mark.parametrize("name", ["full", "many"])
def test_verdict_and_changes_take_two_printed_pages_and_everything_only_where_asked(name: str, tmp_path: Path) -> None:
    page = report.render(REPORTS[name](), "html")
    assert printed_pages(tmp_path, page) <= 2
    assert printed_pages(tmp_path, page, "#all") > 5
