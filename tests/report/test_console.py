"""What every output says of a gap that shrank, and of groups whose changes differ: from counts to the printed row."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest

from fairprune_cli import report
from fairprune_cli.audit.gap_changes import gap_change
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.audit.to_json import audit_record
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.console import print_report
from tests.support import reports as fixture

PAIRS = np.array([[[34, 45], [8, 663]], [[90, 77], [60, 4023]]])  # group x dense right? x pruned right?


def counted(*pruned: str) -> dict[str, object]:
    """A report's figures of models that all answer as `PAIRS` says."""

    def predictions(right: np.ndarray) -> np.ndarray:
        wrong = PAIRS.sum((1, 2)) - right
        return np.array([[[k - k // 2, w // 2], [w - w // 2, k // 2]] for k, w in zip(right, wrong, strict=True)])

    tables = {"dense": predictions(PAIRS[:, 1].sum(1))} | dict.fromkeys(pruned, predictions(PAIRS[:, :, 1].sum(1)))
    result = AuditResult(
        ("no", "yes"), {"gender": ("male", "female")}, {m: t.sum(0) for m, t in tables.items()},
        {m: {"gender": t} for m, t in tables.items()}, {m: PAIRS.sum(0) for m in pruned},
        {m: {"gender": PAIRS} for m in pruned}, {"gender": 0},
    )  # fmt: skip
    return {"verdict": "none", "gates": [], **audit_record(result.figures())}


def rows_of(text: str, label: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(rf" ?{label}  ", line)]


def printed(document: dict[str, object], capsys: pytest.CaptureFixture[str]) -> str:
    print_report(document, Terminal(), None)
    return capsys.readouterr().out


def test_the_gaps_row_shows_its_signed_change_and_the_degradation_gap_a_row_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    change = gap_change(PAIRS)
    assert change is not None
    assert change.high < 0  # it shrank beyond chance
    text = printed(counted("pruned"), capsys)
    interval = f"{100 * change.value:+.1f} [{100 * change.low:+.1f}, {100 * change.high:+.1f}]"
    (gap,) = rows_of(text, "  gap")
    assert interval in gap
    (between,) = rows_of(text, "  degradation gap")
    assert f"{-100 * change.value:.1f} [" in between  # here one is the other without its sign
    assert interval not in between
    (whole,) = rows_of(text, "all")
    assert len(re.findall(r"\[", whole)) == 3  # dense, pruned and the change, each with its interval


def test_so_it_is_with_several_models(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(counted("a", "b"), capsys).split("change against dense")[1]
    (gap,) = rows_of(text, "  gap")
    assert len(re.findall(r"-\d\.\d \[-\d\.\d, -\d\.\d\]", gap)) == 2
    assert len(rows_of(text, "  degradation gap")) == 1
    assert rows_of(text, "all")[0].count("[") == 2


@pytest.mark.parametrize("form", ["md", "html", "card", "github"])
def test_every_writer_shows_the_signed_change_with_its_interval(form: str) -> None:
    change = gap_change(PAIRS)
    assert change is not None
    text = re.sub(r"\s|&nbsp;", " ", report.render(fixture.full() | counted("pruned"), form))
    shown = f"−{-100 * change.value:.1f} (−{-100 * change.low:.1f} to −{-100 * change.high:.1f})"
    assert text.count(shown) >= (2 if form != "card" else 1)  # beside the gap, and among the changes


def test_a_line_for_each_attribute_says_how_much_changed() -> None:
    out = io.StringIO()
    print_report(fixture.full(), Terminal(out, io.StringIO(), {}), None)
    lines = [line for line in out.getvalue().splitlines() if "not the dense model's" in line]
    found = fixture.full()["results"]["pruned"]["faithfulness"]
    assert [line.split(":")[0] for line in lines] == list(found["attributes"])
    largest = found["attributes"]["gender"]["largest"]
    assert f"most for {largest['group']}: {100 * largest['value']:.1f} [{100 * largest['low']:.1f}, " in lines[0]
    times = found["attributes"]["gender"]["groups"][largest["group"]]["representation"]["value"]
    assert lines[0].endswith(f"{times:.1f} times its share of the images")


def test_the_line_of_a_gate_says_what_was_held_against_what() -> None:
    out = io.StringIO()
    print_report(fixture.full(), Terminal(out, io.StringIO(), {}), None)
    gates = fixture.full()["gates"]
    lines = [line for line in out.getvalue().splitlines() if line.startswith("gate ")]
    assert len(lines) == len(gates)
    for gate, line in zip(gates, lines, strict=True):
        assert line.endswith(gate["reason"])
        if gate["low"] is None:
            assert ": no figure, at " in line
            continue
        low, high = f"{100 * gate['low']:.1f}", f"{100 * gate['high']:.1f}"
        side = "at least" if "min-" in gate["name"] else "at most"
        figure = f"{100 * gate['value']:.1f} [{low}, {high}], {side} {100 * gate['bound']:.1f} "
        assert line.startswith(f"gate {gate['name']}: {gate['verdict']}: {figure}")
