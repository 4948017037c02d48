"""The comment on a pull request: what changed against the base's report, and when the two cannot be compared."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.report import render
from fairprune_cli.report.writers.comment import LIMIT, MARK
from tests.support import reports as fixture


def bare(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The full report with another value at a dotted path."""
    report = copy.deepcopy(fixture.full())
    *way, last = path.split(".")
    part: Any = report
    for key in way:
        part = part[key]
    part[last] = value
    return report


def rows(text: str, name: str) -> list[list[str]]:
    found = [line for line in bare(text).splitlines() if line.startswith(f"| {name}")]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in found]


def test_groups_and_gaps_stand_beside_the_bases() -> None:
    base = copy.deepcopy(fixture.full())
    gender = base["results"]["pruned"]["attributes"]["gender"]
    gender["groups"]["female"]["accuracy"] = 0.9
    gender["gap"] = 0.027
    text = render(fixture.full(), "comment", base)
    assert text.startswith(f"{MARK}\n## resnet10")
    (female,) = rows(text, "gender: female |")
    assert female[0:2] == ["gender: female", "795"]
    assert [cell.split(" ")[0] for cell in female[2:]] == ["91.2", "90.0", "88.8", "−2.4", "−1.2"]
    (gap,) = rows(text, "gender |")
    assert [cell.split(" ")[0] for cell in gap[1:]] == ["1.9", "2.7", "3.9", "+2.0", "+1.2"]
    assert "has no interval" in text


def test_without_a_base_nothing_is_said_of_one() -> None:
    text = render(fixture.full(), "comment")
    assert "base" not in text.lower()
    assert "Now − dense" in text


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("data.sha256", "0" * 64, "the manifest or its table is another one"),
        ("data.sha256", None, "does not say which manifest"),
        ("data.split", "val", "the split is"),
        ("results.pruned.n", 1000, "1 998 images here and 1 000 there"),
    ],
)
def test_reports_of_other_images_are_not_compared(path: str, value: Any, reason: str) -> None:
    text = bare(render(fixture.full(), "comment", changed(path, value)))
    assert reason in text
    assert "no change is shown" in text
    assert "Now − base" not in text


def test_what_asks_for_less_than_the_base_is_named() -> None:
    looser = copy.deepcopy(fixture.full())
    gone, eased, *_ = [gate for gate in looser["gates"] if gate["name"].startswith("max")]
    looser["gates"].remove(gone)
    eased["bound"] += 0.1
    looser["config"]["confidence"] = {"value": 0.5, "source": "flag"}
    text = bare(render(looser, "comment", fixture.full()))
    assert "held to a gate that is gone: " + gone["name"].split(" ")[0] in text
    assert re.search(rf"The bound of {eased['name'].split(' ')[0]}.* is looser than at the base", text)
    assert "judged otherwise than at the base: confidence 0.5" in text
    stricter = bare(render(fixture.full(), "comment", looser))
    assert "looser" not in stricter
    assert "gone" not in stricter


def test_what_is_too_long_is_named_and_hostile_names_stay_text() -> None:
    many = copy.deepcopy(fixture.full())
    groups = many["results"]["pruned"]["attributes"]["age"]["groups"]
    for number in range(180):
        groups[f"{number} {'x' * 400}"] = groups["0-20"]
    text = render(many, "comment", many)
    assert len(text.encode()) < LIMIT < 65_536
    assert "Left out, too long for a comment: Accuracy of the groups" in text
    text = render(fixture.hostile(), "comment", fixture.hostile())
    assert "<script" not in text
    assert not re.search(r"(?<!\\)@[a-z]", text.replace("&#64;", ""))
    assert text.count("<!--") == 1
    assert render({}, "comment", {}).startswith(MARK)


def test_other_formats_show_one_report() -> None:
    with pytest.raises(FairpruneError, match="html shows one report"):
        render(fixture.full(), "html", fixture.full())
