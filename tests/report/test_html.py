"""report.html: what is in it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from fairprune_cli import report
from fairprune_cli.report import as_html
from fairprune_cli.report.document import Column, Section, Table
from fairprune_cli.report.figures.plots import MOST_ROWS
from tests.support import reports as fixture
from tests.support.kinds_of_report import REPORTS

LIMIT = 500_000
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
    assert ("img" in page.tags) == (name in ("examples", "many"))
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
    assert len(report.render(REPORTS[name](), "html").encode()) < (LIMIT if name == "many" else LIMIT / 2)


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


def test_a_wide_table_repeats_all_that_names_its_rows() -> None:
    columns = [Column("group"), Column("split"), *(Column(f"label {i}", "number") for i in range(12))]
    rows = [["female", split, *map(str, range(12))] for split in ("train", "test")]
    made = as_html.laid_out(Section("data", "Data", [], [Table("Images", columns, rows)]))
    parts = [block for block in made if isinstance(block, Table)]
    assert len(parts) == 2
    assert all([row[:2] for row in part.rows] == [["female", "train"], ["female", "test"]] for part in parts)
    assert [cell for part in parts for cell in part.rows[0][2:]] == list(map(str, range(12)))
