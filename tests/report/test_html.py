"""report.html: what is in it, and how headless Chromium lays it out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fairprune_cli import report
from fairprune_cli.report.figures.plots import MOST_ROWS
from tests.support import reports as fixture

REPORTS: dict[str, Callable[[], dict[str, Any]]] = {
    "full": fixture.full,
    "audit": fixture.audit_only,
    "hostile": fixture.hostile,
    "several": fixture.several,
    "examples": fixture.with_examples,
}
WIDTHS = (1280, 390)
LIMIT = 500_000
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.mark.parametrize("name", REPORTS)
def test_page_loads_nothing_and_runs_nothing(name: str) -> None:
    text = report.render(REPORTS[name](), "html")
    page = Page(text)
    assert not page.open
    assert ("img" in page.tags) == (name == "examples")
    assert not set(page.tags) & {
        "script",
        "iframe",
        "object",
        "embed",
        "image",
        "use",
        "base",
        "form",
        "b ",
    }
    for tag, attribute, value in page.attributes:
        assert not attribute.startswith("on")
        assert attribute not in {"srcset", "xlink:href", "style"}
        assert attribute != "src" or (tag == "img" and value == fixture.PIXEL)
        if attribute == "href":
            assert value.startswith("#") or (tag, value) == ("link", "data:,")
    style = text.split("<style>", 1)[1].split("</style>", 1)[0]
    assert "url(" not in style
    assert "@import" not in style
    if name != "hostile":
        assert not re.search(r"https?://", text)


def test_every_hostile_name_is_shown_as_text() -> None:
    page = Page(report.render(fixture.hostile(), "html"))
    seen = " ".join(page.text)
    for name in (
        "<script>document.title='owned'</script>",
        "\"'><img src=x onerror=alert(1)>",
        "{{ 7*7 }}{% raw %}",
    ):
        assert name in seen
    assert "49" not in {text.strip() for text in page.text}
    assert "\x00" not in seen
    assert "\x1b" not in seen
    assert "\u202e" not in seen


@pytest.mark.parametrize("name", REPORTS)
def test_page_stays_small(name: str) -> None:
    assert len(report.render(REPORTS[name](), "html").encode()) < LIMIT / 2


def test_a_long_run_of_a_large_network_stays_within_the_limit_and_says_what_it_leaves_out() -> None:
    document = fixture.full()
    document["training"] = [{**document["training"][-1], "epoch": i, "loss": 1 / (i + 1)} for i in range(5000)]
    document["layers"] = [{**document["layers"][1], "name": f"encoder.layers.{i}.mlp"} for i in range(2000)]
    text = report.render(document, "html")
    assert len(text.encode()) < LIMIT
    assert f"The figure shows the first {MOST_ROWS} of 2\u202f000 rows." in text
    assert "1\u202f800 more rows in report.json." in text
    assert "4\u202f800 more rows in report.json." in text


def test_links_lead_to_sections_and_figures_have_titles() -> None:
    page = Page(report.render(fixture.full(), "html"))
    identifiers = {value for _, name, value in page.attributes if name == "id"}
    links = {value[1:] for tag, name, value in page.attributes if tag == "a" and name == "href"}
    assert links - {""} == identifiers  # that of the whole page folds everything again
    assert page.tags.count("svg") == 2 * page.tags.count("figure") > 20
    assert page.tags.count("title") > page.tags.count("svg")


# --- layout -----------------------------------------------------------------------------------------------

PROBE = """<script>
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument, root = page.documentElement;
    const shown = [...page.querySelectorAll("svg, p, h1, h2, h3, figure, .scroll")]
      .filter(e => e.getBoundingClientRect().width);
    const beyond = shown.filter(e => e.getBoundingClientRect().right > root.clientWidth + 1);
    const style = frame.contentWindow.getComputedStyle(page.body);
    return {
      name: frame.dataset.name, width: root.clientWidth, scroll: root.scrollWidth,
      beyond: beyond.map(e => e.outerHTML.slice(0, 80)), title: page.title, scripts: page.scripts.length,
      pictures: shown.filter(e => e.tagName === "svg").length, paper: style.backgroundColor,
      loads: frame.contentWindow.performance.getEntriesByType("resource").length,
    };
  });
  document.getElementById("found").textContent = JSON.stringify(found);
});
</script>"""


def laid_out(folder: Path, pages: dict[str, str], dark: bool = False) -> tuple[list[dict[str, Any]], list[str]]:
    """Lay out every page at every width; what was measured, and the lines of the console."""
    frames = "".join(
        f'<iframe data-name="{name}" style="width:{width}px;height:800px;border:0" '
        f'srcdoc="{html.escape(page)}"></iframe>'
        for name, page in pages.items()
        for width in WIDTHS
    )
    wrapper = folder / "wrapper.html"
    head = '<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    wrapper.write_text(f'{head}{PROBE}<pre id="found"></pre>{frames}', "utf-8")
    profile = folder / "profile"
    profile.mkdir()
    assert CHROMIUM is not None
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--user-data-dir={profile}",
            "--window-size=1400,900",
            "--dump-dom",
            wrapper.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found.group(1))), [line for line in done.stderr.split("\n") if "CONSOLE" in line]


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium in PATH to lay the page out")


@needs_chromium
def test_nothing_overflows_at_either_width_and_nothing_is_fetched_or_run(tmp_path: Path) -> None:
    pages = {name: report.render(make(), "html") for name, make in REPORTS.items()}
    found, console = laid_out(tmp_path, pages)
    assert console == []
    assert [(page["name"], page["width"]) for page in found] == [(n, w) for n in pages for w in WIDTHS]
    for page in found:
        assert page["scroll"] <= page["width"], page["name"]
        assert page["beyond"] == []
        assert page["scripts"] == 0
        assert page["loads"] == 0
        assert page["title"] != "owned"
    drawn = {page["width"]: page["pictures"] for page in found if page["name"] == "full"}
    assert drawn[1280] == drawn[390] > 10  # of the two drawings of each figure one is shown, never both


@needs_chromium
def test_the_probe_sees_overflow_and_errors_and_the_page_follows_the_dark_scheme(tmp_path: Path) -> None:
    bad = '<!DOCTYPE html><meta name="viewport" content="width=device-width"><p style="width:2000px">wide</p>'
    page = report.render(fixture.full(), "html")
    found, console = laid_out(
        tmp_path, {"bad": f"{bad}<script>console.error('seen')</script>", "full": page}, dark=True
    )
    assert any("seen" in line for line in console)
    assert all(item["scroll"] > item["width"] and item["beyond"] for item in found if item["name"] == "bad")
    for item in found:
        if item["name"] == "full":
            assert sum(map(int, re.findall(r"\d+", item["paper"])[:3])) < 150
