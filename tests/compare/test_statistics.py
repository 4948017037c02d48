"""Statistics over seeds: spreads against scipy, paired differences and what is said of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from fairprune_cli.compare.statistics import BETTER, NO_SEED, ONE_SEED, OPEN, WORSE, paired_difference, seed_spread
from tests.support.comparisons import GROUPS, drawn, finish, layout


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_spread_is_the_textbook_interval(confidence: float) -> None:
    values = [0.9, 0.93, 0.91, 0.96]
    found = seed_spread(values, confidence)
    low, high = scipy.stats.t.interval(confidence, 3, np.mean(values), scipy.stats.sem(values))
    assert (found["n"], found["mean"], found["sd"]) == (4, pytest.approx(np.mean(values)), np.std(values, ddof=1))
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))


# Means and standard deviations over seeds of shares: plain t leaves 0..1 for the last three, and misses far more often.
SHARES = [(0.95, 0.004), (0.5, 0.1), (0.99, 0.006), (0.01, 0.008), (0.03, 0.01)]


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize(("mean", "sd"), SHARES)
def test_the_interval_of_a_share_holds_its_mean_as_often_as_it_says_and_stays_possible(
    mean: float, sd: float, n: int
) -> None:
    precision = mean * (1 - mean) / sd**2 - 1
    drawn_shares = np.random.default_rng(n).beta(mean * precision, (1 - mean) * precision, (3000, n))
    found = [seed_spread(values.tolist(), 0.95, most=1.0) for values in drawn_shares]
    assert all(0.0 <= one["low"] <= one["mean"] <= one["high"] <= 1.0 for one in found)
    # Three standard errors of 3000 draws, and what the transform itself is off by for a share of 0.01 with 5 seeds.
    assert np.mean([one["low"] <= mean <= one["high"] for one in found]) == pytest.approx(0.95, abs=0.02)


def test_the_interval_of_a_share_is_students_where_seeds_agree_and_no_other_where_they_are_equal() -> None:
    values = [0.951, 0.949, 0.9505]
    plain, share = seed_spread(values, 0.95), seed_spread(values, 0.95, most=1.0)
    assert (share["low"], share["high"]) == (
        pytest.approx(plain["low"], abs=1e-4),
        pytest.approx(plain["high"], abs=1e-4),
    )
    for end in (0.0, 0.3, 1.0):
        same = seed_spread([end, end, end], 0.95, most=1.0)
        assert (same["low"], same["high"]) == (end, end)
    assert seed_spread([1.2, 0.1], 0.95, most=2.0)["high"] < 2.0


def test_a_difference_of_shares_stays_between_its_ends() -> None:
    found = paired_difference([0.9, 0.1], [0.1, 0.2], 0.95, True)
    assert (found["low"], found["high"], found["statement"]) == (-1.0, 1.0, OPEN)


def test_one_seed_has_no_spread_and_no_seed_has_nothing() -> None:
    one, none = seed_spread([0.9, None], 0.95), seed_spread([None], 0.95, "a gap needs two groups")
    assert (one["n"], one["mean"], one["sd"], one["low"]) == (1, 0.9, None, None)
    assert one["sd_undefined"] == one["high_undefined"] == "one seed"
    assert (none["n"], none["mean"]) == (0, None)
    assert none["mean_undefined"] == "a gap needs two groups"


@pytest.mark.parametrize(
    ("differences", "higher", "statement"),
    [
        ([0.02, 0.021, 0.019], True, BETTER),
        ([0.02, 0.021, 0.019], False, WORSE),
        ([-0.02, -0.021, -0.019], True, WORSE),
        ([-0.02, -0.021, -0.019], False, BETTER),
        ([0.02, -0.021, 0.019], True, OPEN),
        ([0.0, 0.0, 0.0], False, OPEN),
        ([0.02], True, ONE_SEED),
        ([], True, NO_SEED),
    ],
)
def test_statement_follows_the_interval_and_the_direction(
    differences: list[float], higher: bool, statement: str
) -> None:
    base = [0.5 + 0.1 * i for i in range(len(differences))]
    found = paired_difference([b + d for b, d in zip(base, differences, strict=True)], base, 0.95, higher)
    assert found["statement"] == statement
    if len(differences) > 1:
        test = scipy.stats.ttest_1samp(differences, 0.0) if any(differences) else None
        assert (found["statement"] != OPEN) == (test is not None and test.pvalue < 0.05)


def test_pairing_leaves_out_a_seed_without_both_values() -> None:
    found = paired_difference([0.5, None, 0.7], [0.4, 0.3, None], 0.95, True)
    assert (found["n"], found["mean"], found["statement"]) == (1, pytest.approx(0.1), ONE_SEED)


def test_rows_and_comparisons_are_those_of_the_reports(tmp_path: Path) -> None:
    from fairprune_cli.compare.gather import gather

    plan = layout(tmp_path, ("magnitude", "bifp", "snip"), (("channel", 0.8), ("weight", 0.9)), 4)
    reports = {}
    for cell in plan.cells:
        gap = {"magnitude": 0.10, "bifp": 0.04, "snip": 0.10}[cell.row.method]
        reports[cell.name] = drawn(cell, 0.93, gap)
        finish(plan, cell, reports[cell.name])
    document = gather(plan)
    json.dumps(document, allow_nan=False)
    assert [(row["method"], row["sparsity"]) for row in document["rows"]][:3] == [
        ("magnitude", 0.8), ("bifp", 0.8), ("snip", 0.8),
    ]  # fmt: skip

    def gaps(method: str, seeds: int = 4) -> list[float]:
        return [
            reports[f"{method}-weight-0.9-s{seed}"]["results"]["pruned"]["attributes"]["gender"]["gap"]
            for seed in range(seeds)
        ]

    row = next(r for r in document["rows"] if r["method"] == "bifp" and r["granularity"] == "weight")
    assert row["figures"]["attributes"]["gender"]["gap"]["mean"] == pytest.approx(np.mean(gaps("bifp")))
    assert set(row["figures"]["attributes"]["gender"]["groups"]) == set(GROUPS["gender"])
    assert len(document["comparisons"]) == 4  # two methods against magnitude, at two targets
    one = next(c for c in document["comparisons"] if c["method"] == "bifp" and c["granularity"] == "weight")
    assert one["against"] == "magnitude"
    entry = one["attributes"]["gender"]
    assert entry["notion_gap"]["statement"] == BETTER
    assert entry["notion_gap"]["mean"] == pytest.approx(np.mean(gaps("bifp")) - np.mean(gaps("magnitude")))
    assert entry["ratio"] == pytest.approx(np.mean(gaps("bifp")) / np.mean(gaps("magnitude")))
    assert document["comparisons_made"] == 4 * 5
    assert any("20 comparisons were made" in text for text in document["notes"])
    dense = document["dense"][0]["figures"]
    assert dense["accuracy"]["n"] == 4
    assert dense["attributes"]["gender"]["degradation_gap"]["mean"] is None
    assert document["warnings"] == []


def test_one_method_with_a_grid_is_held_against_its_first_point(tmp_path: Path) -> None:
    from fairprune_cli.compare.gather import gather

    plan = layout(tmp_path, ("bifp",), seeds=2, pairs=["tolerance=0.01,0.05,0.1"])
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, dict(cell.row.point)["tolerance"]))
    found = [(c["label"], c["against"]) for c in gather(plan)["comparisons"]]
    assert found == [("bifp tolerance=0.05", "tolerance=0.01"), ("bifp tolerance=0.1", "tolerance=0.01")]


def test_the_gap_of_the_notion_is_compared_once(tmp_path: Path) -> None:
    from fairprune_cli.compare.gather import gather

    plan = layout(tmp_path, seeds=2, notion="odds")
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.1))
    entry = gather(plan)["comparisons"][0]["attributes"]["gender"]
    assert set(entry) == {"notion_gap", "worst_group", "degradation_gap", "ratio"}
    plan = layout(tmp_path / "parity", seeds=2, notion="parity")
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.1))
    document = gather(plan)
    entry = document["comparisons"][0]["attributes"]["gender"]
    assert (entry["notion_gap"]["statement"], entry["ratio"]) == (NO_SEED, None)
    figures = document["cells"][0]["figures"]["attributes"]["gender"]
    assert figures["notion_gap_undefined"] == "fewer than two groups have 30 images"


def test_two_references_are_compared_once(tmp_path: Path) -> None:
    from fairprune_cli.compare.gather import gather

    plan = layout(tmp_path, ("magnitude", "bifp", "snip"), seeds=2, references=("snip", "magnitude"))
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.1))
    found = [(c["method"], c["against"]) for c in gather(plan)["comparisons"]]
    assert found == [("magnitude", "snip"), ("bifp", "snip"), ("bifp", "magnitude")]


def test_gaps_of_different_notions_are_not_compared(tmp_path: Path) -> None:
    from fairprune_cli.compare import write_results
    from fairprune_cli.compare.gather import gather

    plan = layout(tmp_path, ("bifp",), seeds=2, pairs=["notion=accuracy,odds"])
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.1))
    document = gather(plan)
    entry = document["comparisons"][0]["attributes"]["gender"]
    assert set(entry) == {"gap", "worst_group", "odds_gap", "degradation_gap", "ratio"}
    write_results(plan, document)
    text = (tmp_path / "compare.md").read_text()
    assert "| accuracy gap |" in text
    assert "Whiskers" not in text  # of a picture that Markdown does not show


def test_reference_that_is_not_there_is_said(tmp_path: Path) -> None:
    from fairprune_cli.compare.gather import gather

    plan = layout(tmp_path, ("fpgm", "bifp"), (("channel", 0.8), ("weight", 0.9)), 2, references=("fpgm",))
    cells = tuple(c for c in plan.cells if (c.row.method, c.row.granularity) != ("fpgm", "weight"))
    plan = dataclasses.replace(plan, cells=cells)
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.1))
    document = gather(plan)
    assert [c["granularity"] for c in document["comparisons"]] == ["channel"]
    assert "fpgm is not there by weight, so nothing is compared there." in document["notes"]


def test_shared_dense_model_and_one_seed_are_said(tmp_path: Path) -> None:
    from fairprune_cli.compare.gather import gather

    plan = layout(tmp_path, seeds=1, model="dense.pt")
    for cell in plan.cells:
        finish(plan, cell, drawn(cell, 0.93, 0.1))
    document = gather(plan)
    assert "prune the same dense model" in document["notes"][0]
    assert document["dense"][0]["figures"]["accuracy"]["n"] == 1
    assert document["comparisons"][0]["accuracy"]["statement"] == ONE_SEED
    assert document["comparisons_made"] == 0


def test_unequal_passes_missing_and_failed_cells_are_named(tmp_path: Path) -> None:
    from fairprune_cli.compare.gather import gather
    from fairprune_cli.compare.status import made_from

    plan = layout(tmp_path, seeds=2)
    slow, failed, missing, last = plan.cells
    report = drawn(slow, 0.93, 0.1)
    report["cost"]["passes"] = 324.0 * 1.03
    finish(plan, slow, report)
    finish(plan, last, drawn(last, 0.93, 0.1))
    plan.failure(failed).parent.mkdir()
    record = {
        "name": failed.name,
        "message": "training diverged\n  to mend: lr",
        "time": 0,
        "made_from": made_from(failed),
    }
    plan.failure(failed).write_text(json.dumps(record))
    document = gather(plan)
    assert [cell["status"] for cell in document["cells"]] == ["done", "failed", "missing", "done"]
    texts = " ".join(document["warnings"])
    assert f"{failed.name} failed: training diverged to mend: lr" in texts
    assert f"1 of 4 cells are missing: {missing.name}" in texts
    assert f"{last.name} made 324, {slow.name} 334" in texts
    assert document["rows"][0]["failed"] == [{"seed": 1, "reason": "training diverged\n  to mend: lr"}]
    assert document["rows"][0]["figures"]["accuracy"]["n"] == 1
