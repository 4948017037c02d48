"""How many images would decide: held against audits of as many fresh images, drawn from the shares that were seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fairprune_cli.audit import intervals, metrics
from fairprune_cli.audit.churn import faithfulness_figures
from fairprune_cli.audit.deciding import MOST, Question, images_that_decide, rounded_up
from fairprune_cli.audit.evidence import Evidence
from fairprune_cli.audit.figures import Estimate, Judgement
from fairprune_cli.audit.gates import GatePolicy, GateResult, outcome
from fairprune_cli.audit.judging import evaluate
from fairprune_cli.audit.outcomes import Outcomes, clopper_pearson, losses_of, shares_of
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.fairness import notions

# Images by group, label, dense prediction and the pruned model's: groups of unequal size, of which one lost more.
TRUE = np.array([
    [[[0.40, 0.02], [0.02, 0.06]], [[0.03, 0.02], [0.03, 0.42]]],
    [[[0.42, 0.02], [0.01, 0.05]], [[0.03, 0.01], [0.02, 0.44]]],
    [[[0.36, 0.06], [0.02, 0.06]], [[0.04, 0.01], [0.09, 0.36]]],
])  # fmt: skip
SIZES = np.array([400, 250, 150])
NAMES = ("light", "medium", "dark")


def pairs_of(images: np.ndarray) -> np.ndarray:
    """Dense right? x pruned right?, [G, 2, 2], of images [G, label, dense, pruned]."""
    return images[:, 0, ::-1, ::-1] + images[:, 1]


def audited(images: np.ndarray, attributes: int = 1) -> AuditResult:
    """An audit that counted these images, [G, label, dense, pruned], once for each of so many equal attributes."""
    pairs, moves = pairs_of(images), images.sum(1)
    of = [f"a{i}" for i in range(attributes)]
    counts = {"dense": images.sum(3), "pruned": images.sum(2)}
    return AuditResult(
        ("no", "yes"), dict.fromkeys(of, NAMES), {m: c.sum(0) for m, c in counts.items()},
        {m: dict.fromkeys(of, c) for m, c in counts.items()}, {"pruned": pairs.sum(0)},
        {"pruned": dict.fromkeys(of, pairs)}, dict.fromkeys(of, 0), {},
        {"pruned": {**dict.fromkeys(of, moves), "": moves.sum(0)[None]}},
    )  # fmt: skip


def observed(seed: int = 3, sizes: np.ndarray = SIZES) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.multinomial(n, p.ravel()) for n, p in zip(sizes, TRUE, strict=True)]).reshape(TRUE.shape)


def gate(images: np.ndarray, attributes: int = 1, on: tuple[str, ...] = (), **asked: Any) -> GateResult:
    """The first gate on these images."""
    policy = GatePolicy(**asked)
    figures = audited(images, attributes).figures(Judgement(min_group=policy.min_group))
    return evaluate(figures, policy, on)[0][0]


def figure_of(images: np.ndarray, how: dict[str, Any]) -> Estimate:
    """The figure that such a gate judges, alone."""
    counts, pairs = images.sum(2), pairs_of(images)
    judgement = Judgement(min_group=how.get("min_group", 30), family=how.get("attributes", 1))
    if "max_degradation" in how:
        return metrics.degradation_figures(pairs, NAMES, judgement).largest
    if "max_churn" in how:
        return faithfulness_figures(images.sum(1), pairs, NAMES, judgement).largest
    if "min_accuracy" in how:
        if how.get("on"):
            return metrics.worst_group(counts, NAMES, judgement)
        return metrics.accuracy_figure(int(np.trace(counts.sum(0))), int(counts.sum()), judgement.confidence)
    notion = notions.get(how.get("notion", "accuracy"), 2)
    if notion.relative:
        return metrics.losses_gap(pairs, NAMES, judgement, notion)
    return metrics.rates_gap(notion, counts, NAMES, ("no", "yes"), judgement)


def decided(images: np.ndarray, n: int, draws: int = 60, **how: Any) -> float:
    """How often as many fresh images decide, whose groups too are drawn; with all groups large enough, or a failure."""
    rng = np.random.default_rng(8)
    share = images.ravel() / images.sum()
    (metric,) = (key for key in how if key.startswith(("max_", "min_a")))
    done = 0
    for _ in range(draws):
        found = figure_of(rng.multinomial(n, share).reshape(images.shape), how)
        if found.value is not None and found.low is not None and found.high is not None:
            verdict = outcome(metric, how[metric], found.value, found.low, found.high)
            done += verdict == "fail" or (verdict == "pass" and not getattr(found, "small", ()))
    return done / draws


def between(figure: GateResult, share: float) -> float:
    """A bound inside the interval, so far from the value to its upper (or, if negative, lower) end."""
    assert figure.value is not None
    assert figure.low is not None
    assert figure.high is not None
    end = figure.high if share > 0 else figure.low
    return figure.value + abs(share) * (end - figure.value)


KINDS: dict[str, dict[str, Any]] = {
    "accuracy": {"max_gap": 1.0}, "parity": {"max_gap": 1.0, "notion": "parity"},
    "odds": {"max_gap": 1.0, "notion": "odds"}, "degradation": {"max_gap": 1.0, "notion": "degradation"},
    "over attributes": {"max_gap": 1.0, "notion": "opportunity", "attributes": 4},
    "largest loss": {"max_degradation": 1.0}, "churn": {"max_churn": 1.0},
    "worst group": {"min_accuracy": 0.0, "on": ("a0",)}, "all images": {"min_accuracy": 0.0},
}  # fmt: skip


@pytest.mark.parametrize("share", [0.6, -0.6])
@pytest.mark.parametrize("kind", KINDS)
def test_so_many_images_do_decide_and_a_third_of_them_do_not(kind: str, share: float) -> None:
    images, how = observed(), KINDS[kind]
    bound = next(key for key in how if key.startswith(("max_", "min_")))
    how = how | {bound: between(gate(images, **how), share)}
    found = gate(images, **how)
    assert found.verdict == "inconclusive"
    assert found.needed is not None
    assert f"about {found.needed:,} images instead of 800, in the same shares" in found.reason
    assert decided(images, found.needed, **how) >= 0.9
    assert decided(images, found.needed // 3, **how) < 0.9


def test_the_group_that_is_named_is_that_of_the_figure() -> None:
    images = observed()
    for how in ({"max_gap": 0.03}, {"max_churn": 0.17}, {"min_accuracy": 0.86, "on": ("a0",)}):
        found = gate(images, **how)
        assert found.verdict == "inconclusive"
        assert found.needed is not None
        assert f"({rounded_up(150 * found.needed / 800):,} of dark instead of 150)" in found.reason
    assert " of dark" not in gate(images, min_accuracy=0.9).reason


def test_small_groups_come_in_with_what_was_seen_of_them() -> None:
    images = observed(sizes=np.array([400, 250, 20]))
    loose = gate(images, max_gap=0.5)
    assert loose.verdict == "inconclusive"
    assert "of dark instead of 20" in loose.reason
    assert loose.needed is not None
    assert loose.needed * 20 / 670 > 30  # as many on average would too often be 29
    assert decided(images, loose.needed, max_gap=0.5) >= 0.9
    few = gate(images, max_gap=0.5, min_group=300)
    assert few.value is None
    assert few.needed is not None
    assert decided(images, few.needed, max_gap=0.5, min_group=300) >= 0.9
    with_them = gate(images, max_gap=0.5, allow_small_groups=True)
    assert with_them.verdict == "pass"


def test_what_the_shares_do_not_hold_no_number_of_images_shows() -> None:
    images = observed()
    images[2] = 0
    found = gate(images, max_gap=0.3)
    assert (found.verdict, found.needed) == ("inconclusive", None)
    assert "no number of images in the same shares would decide: dark is not looked at" in found.reason
    images = observed()
    images[2, 1] = 0  # none labelled yes
    found = gate(images, max_gap=0.4, notion="opportunity")
    assert (found.verdict, found.needed) == ("inconclusive", None)
    assert gate(images, max_gap=0.02).needed is not None


def test_a_failure_needs_no_group_beside_those_that_fail() -> None:
    images = observed()
    images[1] = 0
    found = gate(images, max_gap=0.03)
    assert found.value is not None
    assert found.value > 0.03
    assert found.verdict == "inconclusive"
    assert found.needed is not None
    assert decided(images, found.needed, max_gap=0.03) >= 0.9


def evidence(k: list[int], n: list[int], extreme: Any = "gap", least: int = 30) -> Evidence:
    return Evidence(extreme, (shares_of(k, n),), tuple("abcdefgh"[: len(k)]), np.array(n), 0.95, least)


def test_a_value_on_its_bound_and_one_next_to_it() -> None:
    even = evidence([90, 80], [100, 100])
    tie = images_that_decide(even, Question(0.1, floor=False))
    assert (tie.images, tie.passes) == (None, None)
    close = images_that_decide(even, Question(0.1001, floor=False))
    assert (close.images, close.passes) == (None, True)
    near = images_that_decide(even, Question(0.105, floor=False))
    assert near.images is not None
    assert 10_000 < near.images < MOST
    value = gate(observed(), max_gap=1.0).value
    assert value is not None
    assert "10,000,000 images in the same shares would not decide" in gate(observed(), max_gap=value + 1e-6).reason
    assert "would decide: the value equals the bound" in gate(observed(), max_gap=value).reason


def test_a_group_that_ten_million_images_would_not_make_large_enough() -> None:
    rare = evidence([900_000, 90, 1], [1_000_000, 100, 1], least=50)
    assert images_that_decide(rare, Question(0.5, floor=False)).images is None
    assert images_that_decide(rare, Question(0.5, floor=False, all_groups=False)).images is not None


def test_bare_figures_are_decided_without_their_interval() -> None:
    small = evidence([90, 17], [100, 20])
    interval = images_that_decide(small, Question(0.2, floor=False)).images
    bare = images_that_decide(small, Question(0.2, floor=False, bare=True)).images
    assert interval is not None
    assert bare is not None
    assert 180 < bare < interval


def test_the_answer_is_the_same_again_and_whatever_the_order_of_groups() -> None:
    one = images_that_decide(evidence([90, 70, 280], [100, 80, 300]), Question(0.2, floor=False))
    assert one == images_that_decide(evidence([90, 70, 280], [100, 80, 300]), Question(0.2, floor=False))
    turned = images_that_decide(evidence([280, 70, 90], [300, 80, 100]), Question(0.2, floor=False))
    assert one.images is not None
    assert turned.images is not None
    assert abs(one.images / turned.images - 1) < 0.15


def test_rounded_up_to_two_digits() -> None:
    assert [rounded_up(x) for x in (7.2, 30, 101, 2304, 12000)] == [8, 30, 110, 2400, 12000]


@pytest.mark.parametrize("kind", KINDS)
def test_evidence_gives_the_very_interval_that_is_judged(kind: str) -> None:
    figures = audited(observed(), KINDS[kind].get("attributes", 1)).figures()
    model = figures.models["pruned"]
    how = KINDS[kind]
    figure = (
        model.degradation["a0"].largest if "max_degradation" in how
        else model.faithfulness["a0"].largest if "max_churn" in how
        else model.attributes["a0"].worst_group if "min_accuracy" in how
        else model.attributes["a0"].gaps[how.get("notion", "accuracy")]
    )  # fmt: skip
    if kind != "all images":
        assert figure == figure_of(observed(), how)
    behind = figure.evidence
    assert behind is not None
    found = behind.value(behind.rates), behind.low(behind.rates), behind.high(behind.rates)
    np.testing.assert_allclose([float(x) for x in found], [figure.value, figure.low, figure.high], rtol=1e-12)
    assert replace(figure, evidence=None) == figure  # figures are equal by what they say


def test_rates_that_are_left_out_do_not_change_what_the_others_share() -> None:
    rates = tuple(shares_of([k, 280], [100, 300]) for k in (95, 60, 94, 93))
    behind = replace(evidence([1, 1], [100, 300]), rates=rates)
    assert behind.low(rates[1:2]) == behind.low(rates)


def test_many_rates_are_searched_by_those_that_reach_farthest() -> None:
    rng = np.random.default_rng(0)
    n = np.full(12, 300)
    rates = tuple(shares_of(rng.binomial(n, 0.9), n) for _ in range(300))
    worst = Outcomes(np.where(np.arange(12) == 3, 180.0, 270.0), np.zeros(12), n.astype(float), False)
    many = Evidence("gap", (*rates, worst), tuple("abcdefghijkl"), n, 0.95, 30)
    found = images_that_decide(many, Question(0.37, floor=False))
    alone = images_that_decide(replace(many, rates=(worst,)), Question(0.37, floor=False))
    assert found.images is not None
    assert alone.images is not None
    assert abs(found.images / alone.images - 1) < 0.2


def test_limits_of_many_counts_are_those_of_each() -> None:
    k = np.random.default_rng(0).binomial(40, 0.9, (200, 12))
    n = np.full(k.shape, 40)
    together = clopper_pearson(k, n, 0.025)
    assert [end.shape for end in together] == [k.shape, k.shape]
    for at in (0, 57, 199):
        for end, one in zip(together, clopper_pearson(k[at], n[at], 0.025), strict=True):
            np.testing.assert_array_equal(end[at], one)
    pairs = losses_of(np.random.default_rng(1).multinomial(50, [0.1, 0.1, 0.2, 0.6], (300, 3)).reshape(300, 3, 2, 2))
    low, high = intervals.largest_bounds(pairs, 0.95)
    assert (low <= pairs.values.max(-1)).all()
    assert (high >= pairs.values.max(-1)).all()
