"""The multiplier scheme against scipy: where dual ascent on the exact violation ends, and where it must not.

The exact rates of a classifier are step functions, so no solver has a smooth problem to compare with. Here the counts
are soft: an image adds u(margin) to the cell that its notion watches, with u the relaxation, so that the exact rate is
smooth and equal to the surrogate. With u = identity ("linear") a rate is a group's mean margin and the problem is
convex (Zafar et al., arXiv 1507.05259, whose covariance constraint it is); with u = sigmoid it is smooth only.

A fixed point of the scheme has  grad loss + grad term = 0  beside feasibility and complementary slackness. That is
the constrained optimum where the term is a positive multiple of the constraint's own gradient:

- two groups, s = 1:  S_all - S_g = p_other (S_other - S_g),  p_other the other group's share of the population;
- parity, any number of groups and any s: one multiplier per pair, so S_all cancels;
- against the whole with s = 1, any number of groups;
- against the best with s = 1 and every other group behind.

Elsewhere it ends at the optimum of another problem, which scipy solves as well. With s = 1 and a group in between,
the reference of the term is the whole. With levelling 0 only the group behind is moved, as if the reference stood
still:  min loss  s.t.  r_g >= c,  with c = best rate - tolerance at the solution itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import scipy.optimize
import torch
import torch.nn.functional as F

from fairprune_cli.data.batches.batch import Known
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint
from fairprune_cli.pruning import method
from fairprune_cli.training.objective import Objective

RIDGE = 0.1
FREE = math.inf  # levelling without a limit: s = 1
SOFT: dict[str, Callable[[np.ndarray], np.ndarray]] = {"linear": lambda a: a, "sigmoid": lambda a: 1 / (1 + np.exp(-a))}
Rate = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Problem:
    """Logistic regression with a ridge: x [N, D], labels [N] of 0 and 1, groups [N, A]."""

    x: np.ndarray
    labels: np.ndarray
    groups: np.ndarray

    def loss(self, w: np.ndarray) -> float:
        signed = (2 * self.labels - 1) * (self.x @ w)
        return float(np.logaddexp(0, -signed).mean() + RIDGE / 2 * w @ w)

    def rate(self, notion: str, soft: str, attribute: int, group: int | None, label: int | None = None) -> Rate:
        """w -> smooth rate of a group (of all for None), from the images themselves."""
        among = np.ones(len(self.labels), dtype=bool)
        if group is not None:
            among &= self.groups[:, attribute] == group
        if label is not None:
            among &= self.labels == label
        side = np.ones(len(self.labels)) if notion == "parity" else 2 * self.labels - 1
        return lambda w: float(SOFT[soft](side[among] * (self.x[among] @ w)).mean())

    def counts(self, w: np.ndarray, notion: str, soft: str, attribute: int) -> np.ndarray:
        """[G, 2, 2] soft counts whose exact rates are those of `rate`."""
        result = np.zeros((self.groups[:, attribute].max() + 1, 2, 2))
        score = self.x @ w
        for g in range(len(result)):
            for y in (0, 1):
                watched = 1 if notion == "parity" else y
                inside = (self.groups[:, attribute] == g) & (self.labels == y)
                hits = SOFT[soft]((2 * watched - 1) * score[inside]).sum()
                result[g, y, watched], result[g, y, 1 - watched] = hits, inside.sum() - hits
        return result


def data(shares: Sequence[int], seed: int = 0, second: bool = False) -> Problem:
    """Groups of the given sizes; the later ones are noisier and have fewer positives."""
    rng = np.random.default_rng(seed)
    parts, labels, groups = [], [], []
    for g, n in enumerate(shares):
        y = (rng.random(n) < 0.6 - 0.12 * g).astype(int)
        strength = 1.4 - 0.45 * g
        features = rng.normal(size=(n, 3)) + strength * (2 * y - 1)[:, None] * np.array([1.0, 0.5, 0.0])
        features[:, 2] += 0.8 * g
        parts.append(np.column_stack([features, np.ones(n)]))
        labels.append(y)
        groups.append(np.full(n, g))
    x, y, g = np.concatenate(parts), np.concatenate(labels), np.concatenate(groups)
    columns = [g]
    if second:  # a second attribute that goes with a feature the first one does not know
        columns.append((x[:, 1] + rng.normal(size=len(x)) > 0.2).astype(int))
    return Problem(x, y, np.column_stack(columns))


def scheme(
    problem: Problem, notion: str | fairness.Notion, soft: str, tolerance: float, *, levelling: float = FREE,
    cap: float = 50.0, start: float = 0.0, dense: np.ndarray | None = None, rate: float = 1.0, steps: int = 200,
) -> tuple[np.ndarray, Constraint]:  # fmt: skip
    """Gradient descent on what a weight step minimises, ascent by `Constraint.update`; (w, the constraint)."""
    made = fairness.get(notion, 2) if isinstance(notion, str) else notion
    attributes = range(problem.groups.shape[1])
    constraint = Constraint(
        made, [int(problem.groups[:, a].max()) + 1 for a in attributes], relaxations.get(soft),
        tolerance=tolerance, rate=rate, cap=cap, memory=1.0, levelling=levelling,
        dense=None if dense is None else [problem.counts(dense, made.name, soft, a) for a in attributes],
    )  # fmt: skip
    for mu in constraint.multipliers:
        mu[0, made.direction >= 0], mu[1, made.direction <= 0] = start, start
    objective = Objective(method.Method, constraint)  # type: ignore[arg-type]  # only its Lagrangian is asked for
    x, labels = torch.tensor(problem.x), torch.tensor(problem.labels)
    known = Known(np.asarray(problem.labels), np.asarray(problem.groups))
    w = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    for _ in range(steps):
        score = x @ w
        logits = torch.stack([torch.zeros_like(score), score], dim=1)
        loss = F.cross_entropy(logits, labels) + RIDGE / 2 * w.square().sum()
        terms = objective.terms(known, logits.device)
        (gradient,) = torch.autograd.grad(objective.lagrangian(loss, logits, terms), w)
        with torch.no_grad():
            w -= 0.5 * gradient
        for a, tally in enumerate(constraint.tallies):
            # A memory of one image: what was counted before is gone.
            tally.add(problem.counts(w.detach().numpy(), made.name, soft, a), np.zeros_like(tally.soft))
        constraint.update()
    return w.detach().numpy().copy(), constraint


def minimum(problem: Problem, inequalities: Sequence[Rate] = (), extra: Rate = lambda w: 0.0) -> np.ndarray:
    """scipy's solution of  min loss + extra  s.t.  every inequality >= 0."""
    found = scipy.optimize.minimize(
        lambda w: problem.loss(w) + extra(w), np.zeros(problem.x.shape[1]), method="SLSQP",
        constraints=[{"type": "ineq", "fun": f} for f in inequalities], options={"maxiter": 500, "ftol": 1e-13},
    )  # fmt: skip
    assert found.success, found.message
    return np.asarray(found.x)


def rates(problem: Problem, notion: str, soft: str, attribute: int = 0) -> list[list[Rate]]:
    """[M][G] rates of the notion as its definition has them."""
    count = int(problem.groups[:, attribute].max()) + 1
    labels = {"opportunity": [1], "odds": [0, 1]}.get(notion, [None])
    return [[problem.rate(notion, soft, attribute, g, y) for g in range(count)] for y in labels]


def apart(family: Sequence[Rate], tolerance: float) -> list[Rate]:
    """tolerance - (r_h - r_g) for every pair of groups."""

    def pair(high: Rate, low: Rate) -> Rate:
        return lambda w: tolerance - (high(w) - low(w))

    return [pair(h, g) for h in family for g in family if h is not g]


def gap(family: Sequence[Rate], w: np.ndarray) -> float:
    return max(r(w) for r in family) - min(r(w) for r in family)


def optimum(problem: Problem, notion: str, soft: str, tolerance: float) -> np.ndarray:
    """scipy's solution of  min loss  s.t.  no two groups of any attribute are further apart than the tolerance."""
    families = [f for a in range(problem.groups.shape[1]) for f in rates(problem, notion, soft, a)]
    return minimum(problem, [f for family in families for f in apart(family, tolerance)])


def same(problem: Problem, w: np.ndarray, expected: np.ndarray) -> None:
    assert problem.loss(w) == pytest.approx(problem.loss(expected), abs=1e-5)
    assert w == pytest.approx(expected, abs=1e-3)


TWO = data([120, 80])
# notion, relaxation, tolerance, levelling, multiplier_rate
CASES = [
    ("accuracy", "linear", 0.25, FREE, 1.0),
    # s = min(1, levelling / sum of mu): 1 as long as the multiplier that is needed (0.86) is not overshot.
    ("accuracy", "linear", 0.25, 1.0, 0.3),
    ("parity", "linear", 0.08, 0.0, 1.0),
    ("odds", "linear", 0.25, FREE, 1.0),
    ("opportunity", "sigmoid", 0.035, FREE, 1.0),
    ("parity", "sigmoid", 0.015, 0.0, 1.0),
]


@pytest.mark.parametrize(("notion", "soft", "tolerance", "levelling", "rate"), CASES)
def test_the_constrained_optimum_is_reached(
    notion: str, soft: str, tolerance: float, levelling: float, rate: float
) -> None:
    families = rates(TWO, notion, soft)
    free = minimum(TWO)
    assert max(gap(family, free) for family in families) > 2 * tolerance  # the constraint has something to do
    steps = 200 if soft == "linear" else 400
    w, constraint = scheme(TWO, notion, soft, tolerance, levelling=levelling, rate=rate, steps=steps)
    expected = optimum(TWO, notion, soft, tolerance)
    same(TWO, w, expected)
    assert TWO.loss(expected) > TWO.loss(free) + 1e-3  # further than the comparison can blur
    assert [gap(family, w) for family in families] == pytest.approx([gap(f, expected) for f in families], abs=1e-4)
    assert constraint.violations()[0].exact == pytest.approx(max(gap(family, w) for family in families), abs=1e-9)
    assert constraint.violations()[0].exact <= tolerance + 1e-4


@pytest.mark.parametrize(("notion", "soft", "tolerance"), [("accuracy", "linear", 0.25), ("parity", "linear", 0.08)])
def test_a_multiplier_ends_at_the_price_of_its_constraint(notion: str, soft: str, tolerance: float) -> None:
    """Sensitivity: the multiplier is what a little more tolerance would save, from scipy's optima alone."""
    levelling = FREE if notion == "accuracy" else 0.0
    _, constraint = scheme(TWO, notion, soft, tolerance, levelling=levelling)
    h = 0.01
    tight, loose = (TWO.loss(optimum(TWO, notion, soft, tolerance + d)) for d in (-h, h))
    price = (tight - loose) / (2 * h)
    low, high = constraint.multipliers[0][:, 0]
    if notion == "accuracy":
        assert float((TWO.groups == 0).mean()) * low[1] == pytest.approx(price, rel=0.02)  # p_other mu
        assert (low[0], *high) == (0.0, 0.0, 0.0)
    else:
        assert (low[1], high[0]) == pytest.approx((price, price), rel=0.02)
        assert (low[0], high[1]) == (0.0, 0.0)


@pytest.mark.parametrize("start", [0.0, 2.0])
def test_a_constraint_that_holds_by_itself_costs_nothing(start: float) -> None:
    free = minimum(TWO)
    tolerance = 2 * gap(rates(TWO, "accuracy", "linear")[0], free)
    w, constraint = scheme(TWO, "accuracy", "linear", tolerance, start=start)
    assert not constraint.active
    same(TWO, w, free)


def test_two_attributes_are_met_together() -> None:
    problem, tolerance = data([120, 80], second=True), 0.1
    families = [rates(problem, "accuracy", "linear", a)[0] for a in (0, 1)]
    one = minimum(problem, apart(families[0], tolerance))
    assert gap(families[1], one) > 1.5 * tolerance  # meeting the first alone breaks the second
    w, constraint = scheme(problem, "accuracy", "linear", tolerance, steps=350)
    same(problem, w, optimum(problem, "accuracy", "linear", tolerance))
    assert [v.exact for v in constraint.violations()] == pytest.approx([tolerance, tolerance], abs=1e-4)
    assert all(mu.max() > 0.1 for mu in constraint.multipliers)


def test_three_groups_all_behind_the_best() -> None:
    problem, tolerance = data([90, 60, 50]), 0.1
    (family,) = rates(problem, "accuracy", "linear")
    w, constraint = scheme(problem, "accuracy", "linear", tolerance, steps=350)
    same(problem, w, optimum(problem, "accuracy", "linear", tolerance))
    assert (constraint.multipliers[0][0, 0] > 0).tolist() == [False, True, True]
    best = family[0](w)
    assert [best - r(w) for r in family[1:]] == pytest.approx([tolerance, tolerance], abs=1e-4)


def test_four_groups_against_the_whole() -> None:
    """psi_g = (d_g - r_g) - (d_all - r_all) <= tau, the constraint of CEAG, with s = 1."""
    problem, tolerance = data([60, 40, 50, 40]), 0.1
    notion = replace(fairness.get("degradation", 2), against="whole")
    dense = np.array([0.4, 0.6, 1.1, -0.4])
    w, constraint = scheme(problem, notion, "linear", tolerance, dense=dense, steps=350)
    (family,) = rates(problem, "degradation", "linear")
    whole = problem.rate("degradation", "linear", 0, None)

    def slack(rate: Rate) -> Rate:
        return lambda v: tolerance - (rate(dense) - rate(v)) + (whole(dense) - whole(v))

    assert min(slack(r)(minimum(problem)) for r in family) < -tolerance
    same(problem, w, minimum(problem, [slack(r) for r in family]))
    assert min(slack(r)(w) for r in family) == pytest.approx(0.0, abs=1e-4)
    assert constraint.multipliers[0].max() > 0.01


def test_the_cap_turns_the_constraint_into_a_penalty() -> None:
    """Below the price of the constraint the gap stays open, at the optimum of loss + cap (S_all - S_g)."""
    tolerance, cap = 0.25, 0.4  # 0.86 would be needed
    w, constraint = scheme(TWO, "accuracy", "linear", tolerance, cap=cap)
    (family,) = rates(TWO, "accuracy", "linear")
    whole = TWO.rate("accuracy", "linear", 0, None)
    same(TWO, w, minimum(TWO, extra=lambda v: cap * (whole(v) - family[1](v))))
    assert constraint.multipliers[0][0, 0].tolist() == [0.0, cap]
    assert gap(family, w) > 1.2 * tolerance


def test_with_a_group_in_between_the_reference_of_the_term_is_the_whole() -> None:
    """One multiplier is positive: the optimum of  r_all - r_g <= c,  c such that best and worst are tau apart."""
    problem, tolerance = data([90, 60, 50]), 0.42
    (family,) = rates(problem, "accuracy", "linear")
    whole = problem.rate("accuracy", "linear", 0, None)

    def at(c: float) -> np.ndarray:
        return minimum(problem, [lambda v: c - (whole(v) - family[2](v))])

    c = scipy.optimize.brentq(lambda c: gap(family, at(c)) - tolerance, 0.05, 0.5, xtol=1e-6)
    w, constraint = scheme(problem, "accuracy", "linear", tolerance)
    same(problem, w, at(c))
    assert (constraint.multipliers[0][0, 0] > 0).tolist() == [False, False, True]
    best = optimum(problem, "accuracy", "linear", tolerance)
    assert problem.loss(w) > problem.loss(best) + 5e-4  # near the optimum of the pairs, and not at it


def test_parity_of_four_groups_reaches_the_optimum() -> None:
    """With a multiplier per pair the two sides agree, whichever groups lead; wherever the multipliers start from."""
    problem, tolerance = data([60, 40, 50, 40]), 0.3
    (family,) = rates(problem, "parity", "linear")
    assert gap(family, minimum(problem)) > 2 * tolerance
    w, constraint = scheme(problem, "parity", "linear", tolerance, levelling=0.0, rate=0.3, steps=500)
    assert gap(family, w) == pytest.approx(tolerance, abs=1e-3)
    assert constraint.active
    low, high = constraint.multipliers[0][:, 0]
    assert low.sum() == pytest.approx(high.sum())
    same(problem, w, optimum(problem, "parity", "linear", tolerance))


@pytest.mark.parametrize(("sizes", "tolerance"), [((120, 80), 0.035), ((90, 60, 50), 0.063)])
def test_the_default_raises_the_group_behind_to_a_reference_that_stands_still(
    sizes: tuple[int, ...], tolerance: float
) -> None:
    problem = data(sizes)
    (family,) = rates(problem, "opportunity", "sigmoid")
    last = family[-1]

    def at(c: float) -> np.ndarray:
        return minimum(problem, [lambda v: last(v) - c])

    low, high = last(minimum(problem)), 0.95
    c = scipy.optimize.brentq(lambda c: gap(family, at(c)) - tolerance, low, high, xtol=1e-6)
    w, constraint = scheme(problem, "opportunity", "sigmoid", tolerance, levelling=0.0, steps=450)
    same(problem, w, at(c))
    assert constraint.violations()[0].exact == pytest.approx(tolerance, abs=1e-4)
    # Nobody was pulled down, which the optimum of the pairs would do, and which costs loss.
    best = optimum(problem, "opportunity", "sigmoid", tolerance)
    free = minimum(problem)
    assert all(r(w) > r(free) for r in family)
    assert family[0](best) < family[0](free)
    assert problem.loss(w) > problem.loss(best) + 1e-2
