"""The section on training: the exact gap beside the surrogate one at every epoch, gradients and moves of the mask."""

from __future__ import annotations

from typing import Any

import pytest

from fairprune_cli import report
from fairprune_cli.report import words
from fairprune_cli.report.compose import build_document
from fairprune_cli.report.document import Lines, Note, Plot, Section, Table
from tests.support import reports as fixture

NEW = ("gradient_norm", "clipped", "mask_moves", "mask_returns")


def section(document: dict[str, Any]) -> Section:
    (found,) = [part for part in build_document(document).sections if part.name == "training"]
    return found


def notes(document: dict[str, Any]) -> list[str]:
    return [b.text.replace(words.SPACE, " ") for b in section(document).blocks if isinstance(b, Note)]


@pytest.mark.parametrize("attribute", ["gender", "age"])
def test_exact_and_surrogate_gap_of_every_epoch_stand_in_one_figure(attribute: str) -> None:
    document = fixture.full()
    (plot,) = [
        b
        for b in section(document).blocks
        if isinstance(b, Plot) and b.title == f"Exact and surrogate gap, {attribute}"
    ]
    assert isinstance(plot.figure, Lines)
    exact, surrogate = plot.figure.lines
    records = document["training"]
    assert list(exact.xs) == list(surrogate.xs) == [record["epoch"] for record in records]
    assert list(exact.ys) == [record["exact_gap"][attribute] for record in records]
    assert list(surrogate.ys) == [record["surrogate_gap"][attribute] for record in records]
    assert [rule.value for rule in plot.figure.rules] == [0.02]
    assert (exact.dashed, surrogate.dashed) == (False, True)


def test_what_the_dense_model_had_is_the_rule_where_that_was_left_alone() -> None:
    document = fixture.full()
    for record in document["training"]:
        record["allowed_gap"] = {"gender": 0.02, "age": 0.109}
    plots = {b.title: b for b in section(document).blocks if isinstance(b, Plot)}
    tolerance, dense = (plots[f"Exact and surrogate gap, {attribute}"] for attribute in ("gender", "age"))
    assert isinstance(tolerance.figure, Lines)
    assert isinstance(dense.figure, Lines)
    assert [rule.label for rule in tolerance.figure.rules] == ["tolerance 2.0"]
    assert [(rule.value, rule.label) for rule in dense.figure.rules] == [(0.109, "dense model's gap 10.9")]
    assert "the dense model's gap of 10.9" in dense.sentence


def test_both_gaps_of_every_epoch_are_in_the_table() -> None:
    document = fixture.full()
    (table,) = [b for b in section(document).blocks if isinstance(b, Table) and b.title == "Every epoch"]
    titles = [column.title for column in table.columns]
    for attribute in ("gender", "age"):
        for title, key in ((f"Exact gap, {attribute}", "exact_gap"), (f"Surrogate gap, {attribute}", "surrogate_gap")):
            shown = [row[titles.index(title)] for row in table.rows]
            assert shown == [f"{100 * record[key][attribute]:.1f}" for record in document["training"]]


def test_an_epoch_without_a_gap_breaks_the_curve() -> None:
    document = fixture.full()
    document["training"][3]["exact_gap"] = {"gender": None, "age": 0.1}
    (plot,) = [b for b in section(document).blocks if isinstance(b, Plot) and b.title.endswith("surrogate gap, gender")]
    assert isinstance(plot.figure, Lines)
    exact, surrogate = plot.figure.lines
    assert exact.ys[3] is None
    assert surrogate.ys[3] is not None
    assert None not in [*exact.ys[:3], *exact.ys[4:]]


def test_gradients_and_moves_of_the_mask() -> None:
    document = fixture.full()
    for record, norm, share in zip(document["training"], [0.5, 1.5], [0.0, 0.08], strict=False):
        record |= {"gradient_norm": norm, "clipped": share}
    for record in document["training"][2:]:
        record |= {"gradient_norm": 0.9, "clipped": 0.0}
    for record, share in zip(document["training"][:8], [0.02, 0.05, 0.01, 0.01, 0.02, 0.03, 0.06, 0.04], strict=True):
        record["mask_returns"] = share
    assert notes(document) == [
        "Gradients of the weight steps had a norm of 0.50 to 1.50, 0.90 in the last epoch; 0.4 % of the steps were "
        "clipped.",
        "The mask moved 67 times. Of the units that a move kept, 1.0 % to 6.0 % had been masked before it, 4.0 % in "
        "the last epoch with moves.",
    ]


@pytest.mark.parametrize("to", ["html", "md"])
def test_the_sentences_are_in_the_report(to: str) -> None:
    assert "Gradients of the weight steps had a norm of" in report.render(fixture.full(), to)


def test_a_report_from_before_they_were_recorded_says_nothing_of_them() -> None:
    document = fixture.full()
    for record in document["training"]:
        for name in NEW:
            del record[name]
    assert notes(document) == []


def test_what_one_epoch_or_the_whole_run_lacks_is_left_out() -> None:
    document = fixture.full()
    for record in document["training"]:
        record |= {"gradient_norm": 2.5e6, "mask_returns": None, "mask_moves": 0}
        del record["clipped"]
    del document["training"][0]["gradient_norm"]
    document["training"][1]["gradient_norm"] = "much"
    assert notes(document) == ["Gradients of the weight steps had a norm of 2.50 M, 2.50 M in the last epoch."]
    document["training"][0]["mask_moves"] = 1
    assert notes(document)[1] == "The mask moved 1 time."
