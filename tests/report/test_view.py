"""What holds for the whole report: the manifest's order, the positive class, chance, and pictures."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from fairprune_cli import report
from fairprune_cli.report.compose import build_document
from fairprune_cli.report.document import Heading, Lines, Plot, Table
from fairprune_cli.report.figures import plots
from fairprune_cli.report.view import View
from tests.support import many_groups
from tests.support import reports as fixture

# In another order than that of their names, nor the one in which they stand in the fixture.
ORDER = [
    {"name": "gender", "groups": ["male", "female"]},
    {"name": "age", "groups": ["60-120", "40-60", "0-20", "20-40"]},
]


def reordered() -> dict[str, Any]:
    document = fixture.full()
    document["data"] |= {"attributes": ORDER, "classes": ["smiling", "neutral"]}
    # As it is read again: with its keys sorted.
    return json.loads(json.dumps(document, sort_keys=True))  # type: ignore[no-any-return]


def tables(document: dict[str, Any], title: str) -> list[list[str]]:
    found = [b for s in build_document(document).sections for b in s.blocks if isinstance(b, Table)]
    return [[row[0] for row in table.rows] for table in found if table.title == title]


def test_attributes_groups_and_classes_stand_as_the_manifest_has_them() -> None:
    document = reordered()
    sections = {section.name: section for section in build_document(document).sections}
    for name in ("groups", "degradation", "data"):
        headings = [block.text for block in sections[name].blocks if isinstance(block, Heading)]
        assert headings == ["gender", "age", "gender*age"], name
    ages = ["60-120", "40-60", "0-20", "20-40"]
    assert tables(document, "Accuracy by age")[0] == ages
    assert tables(document, "Change of accuracy by age")[0][:4] == ages
    assert tables(document, "Changed predictions by gender")[0] == ["male", "female"]
    split = next(b for b in sections["data"].blocks if isinstance(b, Table))
    assert [column.title for column in split.columns][-2:] == ["smiling", "neutral"]
    assert [line.name for line in _curves(document, "Group accuracy in training, age")] == ages


def _curves(document: dict[str, Any], title: str) -> Any:
    found = [b for s in build_document(document).sections for b in s.blocks if isinstance(b, Plot) and b.title == title]
    assert isinstance(found[0].figure, Lines)
    return found[0].figure.lines


def test_a_report_from_before_the_order_was_told_has_that_of_the_names() -> None:
    document = reordered()
    del document["data"]["attributes"]
    assert View(document).attributes == ["age", "gender", "gender*age"]
    assert View(document).groups("age") == ["0-20", "20-40", "40-60", "60-120"]


@pytest.mark.parametrize("to", ["html", "md", "comment", "github", "junit"])
def test_rates_are_never_told_without_the_positive_class(to: str) -> None:
    document = fixture.full()
    for gate in document["gates"]:
        gate["notion"] = "opportunity"
    assert "smiling counts as positive." in report.render(document, to)
    document["data"]["classes"] = ["a", "b", "c"]
    assert "is that of each class" in report.render(document, to)


def test_a_loss_that_chance_could_explain_is_not_what_pruning_costs() -> None:
    document = fixture.full()
    for record in document["degradation"].values():
        record["largest"] |= {"low": -0.01}
    for to in ("html", "md", "comment", "card"):
        text = report.render(document, to)
        assert "lost most" not in text
        assert "costs" not in re.sub(r"Pruning costs|what the run itself cost", "", text)


def test_nearly_equal_times_are_about_the_same() -> None:
    document = fixture.full()
    document["speed"]["pruned"]["batch"]["1"]["median_ms"] = 6.31 * 1.03
    text = report.render(document, "md")
    assert "about the same" in text
    assert not re.search(r"1\.0.times", text)


def test_formats_without_pictures_do_not_explain_any() -> None:
    explained = re.compile(
        r"\b(dots?|curves?|bars?|whiskers?|left of|to the (?:left|right)|right of zero|colou?rs?)\b", re.I
    )
    for to in ("md", "comment", "github", "junit", "card"):
        for document in (fixture.full(), fixture.several(), fixture.audit_only()):
            assert explained.findall(report.render(document, to)) == [], to
    assert explained.search(report.render(fixture.full(), "html"))


def test_one_epoch_is_a_row_and_no_plot() -> None:
    document = fixture.full()
    document["training"] = document["training"][:1]
    section = next(s for s in build_document(document).sections if s.name == "training")
    assert not [block for block in section.blocks if isinstance(block, Plot | Heading)]
    assert tables(document, "Every epoch") == [["1"]]


def test_more_curves_than_can_be_told_apart_are_drawn_apart_with_their_names() -> None:
    lines = _curves(many_groups.many_groups(), "Multipliers, gender*age group")
    figure = Lines(lines, "number", "epoch")
    for width in (plots.WIDE, plots.NARROW):
        picture = ElementTree.fromstring(plots.svg(figure, "t", width))
        assert sum(p.get("class") == "range" for p in picture.iter("path")) == len(lines) == 21
        assert {line.name for line in lines} <= {text.text for text in picture.iter("text")}
    few = ElementTree.fromstring(plots.svg(Lines(lines[:12], "number", "epoch"), "t", plots.WIDE))
    assert not [p for p in few.iter("path") if p.get("class") == "range"]


def test_wide_tables_go_on_in_further_ones_and_no_cell_is_lost() -> None:
    document = fixture.full()
    labels = [f"class {i}" for i in range(12)]
    document["data"]["counts"]["test"]["labels"] = {label: 1000 + i for i, label in enumerate(labels)}
    for split in ("train", "val"):
        document["data"]["counts"][split]["labels"] = {}
    text = report.render(document, "html")
    assert "All images, part 1 of 2" in text
    assert all(f">{label}<" in text and f"1\u202f{i:03d}" in text for i, label in enumerate(labels))
