"""Every notion's exact gap against fairlearn's on the same images, for training's counts and for the audit's record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from fairprune_cli.audit import metrics, to_json
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.data.manifest.load import Manifest
from fairprune_cli.data.manifest.manifest import Grouping
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.fairness import relaxations
from fairprune_cli.fairness.constraint import Constraint

fairlearn = pytest.importorskip("fairlearn.metrics")
skl = pytest.importorskip("sklearn.metrics")

EVERYONE = Judgement(min_group=1)
GROUPS = list(range(2, 9))
BINARY = {
    "parity": fairlearn.demographic_parity_difference,
    "opportunity": fairlearn.equal_opportunity_difference,
    "odds": fairlearn.equalized_odds_difference,
}


class Images(NamedTuple):
    labels: np.ndarray
    predicted: np.ndarray
    groups: np.ndarray

    def counts(self, g: int, k: int) -> np.ndarray:
        """[G, K, K] by a plain loop."""
        counts = np.zeros((g, k, k), dtype=np.int64)
        for y, p, group in zip(self.labels, self.predicted, self.groups, strict=True):
            counts[group, y, p] += 1
        return counts


def draw(g: int, k: int, seed: int = 0, n: int = 400, errors: tuple[float, float] = (0.05, 0.5)) -> Images:
    """Groups of unequal sizes, mixes of labels and errors; every group has at least two images of every label."""
    rng = np.random.default_rng([seed, g, k])
    share = rng.uniform(0.2, 1.0, size=(g, k))
    cell = np.repeat(np.arange(g * k), 2)
    cell = np.concatenate([cell, rng.choice(g * k, size=n, p=(share / share.sum()).ravel())])
    groups, labels = np.divmod(cell, k)
    wrong = rng.random(len(cell)) < rng.uniform(*errors, size=(g, k))[groups, labels]
    # Groups are mistaken for other classes, not only more often.
    next_one = rng.random(len(cell)) < rng.uniform(size=(g, k))[groups, labels]
    return Images(labels, np.where(wrong, labels + np.where(next_one, 1, k - 1), labels) % k, groups)


def frame(metric: Callable[..., float] | dict[str, Callable[..., float]], data: Images, **more: Any) -> Any:
    return fairlearn.MetricFrame(
        metrics=metric, y_true=data.labels, y_pred=data.predicted, sensitive_features=data.groups, **more
    )


def audited(counts: np.ndarray, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    names = names or tuple(map(str, range(len(counts))))
    classes = tuple("abcdefgh"[: counts.shape[1]])
    return to_json.attribute_record(metrics.attribute_figures(counts, names, classes, 0, EVERYONE))


@pytest.mark.parametrize("g", GROUPS)
@pytest.mark.parametrize("name", BINARY)
def test_binary_notions(name: str, g: int) -> None:
    for seed in range(2):
        data = draw(g, 2, seed)
        expected = BINARY[name](data.labels, data.predicted, sensitive_features=data.groups)
        assert expected > 0
        counts = data.counts(g, 2)
        assert fairness.get(name, 2).exact(counts) == pytest.approx(expected, abs=1e-12)
        assert audited(counts)["metrics"][name]["value"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("g", GROUPS)
def test_accuracy_and_worst_group(g: int, k: int) -> None:
    data = draw(g, k)
    expected = frame(skl.accuracy_score, data)
    counts = data.counts(g, k)
    for name in ("accuracy", "worst-group"):
        assert fairness.get(name, k).exact(counts) == pytest.approx(expected.difference(), abs=1e-12)
    record = audited(counts)
    assert record["gap"] == pytest.approx(expected.difference(), abs=1e-12)
    assert record["gap_between"] == [str(expected.by_group.idxmax()), str(expected.by_group.idxmin())]
    worst = record["metrics"]["worst_group"]
    assert (worst["value"], worst["group"]) == (pytest.approx(expected.group_min()), str(expected.by_group.idxmin()))
    assert [record["groups"][str(i)]["accuracy"] for i in range(g)] == pytest.approx(expected.by_group.tolist())


@pytest.mark.parametrize("g", [2, 5])
def test_the_violation_is_held_against_the_best_other_group_or_the_whole(g: int) -> None:
    data, tolerance = draw(g, 3), 0.03
    expected = frame(skl.accuracy_score, data)
    rates = expected.by_group.to_numpy()
    others = np.array([max(r for h, r in enumerate(rates) if h != i) for i in range(g)])
    for name, reference in (("accuracy", others), ("worst-group", expected.overall)):
        notion, counts = fairness.get(name, 3), data.counts(g, 3).astype(float)
        low, high = notion.violation(notion.usable_rates(counts), notion.whole_rates(counts), tolerance)
        assert low[0] == pytest.approx(reference - expected.by_group.to_numpy() - tolerance)
        assert np.isnan(high).all()


@pytest.mark.parametrize("g", GROUPS)
def test_degradation_is_the_difference_of_losses(g: int) -> None:
    pruned = draw(g, 3, seed=1)
    right = np.random.default_rng(g).random(len(pruned.labels)) < 0.9
    dense = pruned._replace(predicted=np.where(right, pruned.labels, (pruned.labels + 1) % 3))
    loss = frame(skl.accuracy_score, dense).by_group - frame(skl.accuracy_score, pruned).by_group
    notion = fairness.get("degradation", 3)
    rates, _ = notion.rates(dense.counts(g, 3))
    assert notion.exact(pruned.counts(g, 3), rates) == pytest.approx(loss.max() - loss.min(), abs=1e-12)
    pairs = np.zeros((g, 2, 2), dtype=np.int64)
    for i, group in enumerate(pruned.groups):
        pairs[group, int(dense.predicted[i] == dense.labels[i]), int(pruned.predicted[i] == pruned.labels[i])] += 1
    record = to_json.attribute_degradation_record(
        metrics.degradation_figures(pairs, tuple(map(str, range(g))), EVERYONE)
    )
    assert record["gap"] == pytest.approx(loss.max() - loss.min(), abs=1e-12)
    assert record["gap_between"] == [str(loss.idxmax()), str(loss.idxmin())]
    assert record["largest"]["value"] == pytest.approx(loss.max(), abs=1e-12)
    assert [-record["groups"][str(i)]["change"] for i in range(g)] == pytest.approx(loss.tolist(), abs=1e-12)


@pytest.mark.parametrize("k", [3, 6])
@pytest.mark.parametrize("g", [2, 4, 8])
def test_several_classes_one_against_the_rest(g: int, k: int) -> None:
    data = draw(g, k, n=900)
    counts = data.counts(g, k)
    record = audited(counts)
    one = [Images(data.labels == c, data.predicted == c, data.groups) for c in range(k)]
    for name in ("parity", "opportunity"):
        expected = max(BINARY[name](x.labels, x.predicted, sensitive_features=x.groups) for x in one)
        assert fairness.get(name, k).exact(counts) == pytest.approx(expected, abs=1e-12)
        assert record["metrics"][name]["value"] == pytest.approx(expected, abs=1e-12)
    for c, name in enumerate("abcdefgh"[:k]):
        rates = {"selection_rate": fairlearn.selection_rate, "recall": fairlearn.true_positive_rate}
        by_group = frame(rates, one[c]).by_group
        for rate in rates:
            mine = [record["groups"][str(i)]["metrics"][rate][name] for i in range(g)]
            assert mine == pytest.approx(by_group[rate].tolist())


@pytest.mark.parametrize("g", [2, 4, 8])
def test_odds_of_several_classes_are_rates_of_each_prediction_given_each_label(g: int) -> None:
    data = draw(g, 3, n=900, errors=(0.3, 0.35))
    gaps = []
    for y in range(3):
        given = data.labels == y
        for p in range(3):
            part = Images(data.labels[given], data.predicted[given] == p, data.groups[given])
            gaps.append(frame(fairlearn.selection_rate, part).difference())
    counts = data.counts(g, 3)
    assert max(gaps) > fairness.get("opportunity", 3).exact(counts)  # a mistake makes the gap, not a recall
    assert fairness.get("odds", 3).exact(counts) == pytest.approx(max(gaps), abs=1e-12)
    assert audited(counts)["metrics"]["odds"]["value"] == pytest.approx(max(gaps), abs=1e-12)


def test_odds_one_against_the_rest_would_blame_a_mix_of_labels() -> None:
    """Where the two definitions part: the same confusion in both groups, other shares of labels."""
    confusion = np.array([[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    counts = np.stack([confusion * [[100], [100], [100]], confusion * [[100], [100], [400]]]).astype(np.int64)
    cells = [(y, p, g) for g in range(2) for y in range(3) for p in range(3) for _ in range(counts[g, y, p])]
    data = Images(*np.array(cells).T)
    rest = [
        fairlearn.equalized_odds_difference(data.labels == c, data.predicted == c, sensitive_features=data.groups)
        for c in range(3)
    ]
    assert max(rest) == pytest.approx(20 / 200 - 20 / 500)
    assert fairness.get("odds", 3).exact(counts) == pytest.approx(0.0, abs=1e-12)
    assert audited(counts)["metrics"]["odds"]["value"] == pytest.approx(0.0, abs=1e-12)


def test_intersections_are_two_sensitive_features() -> None:
    rng = np.random.default_rng(3)
    data = draw(2, 2, n=600)
    n = len(data.labels)
    age = rng.integers(3, size=n)
    age[(data.groups == 1) & (age == 2)] = 0  # a combination that does not occur
    attributes = {
        "gender": Grouping("gender", ("m", "f"), data.groups),
        "age": Grouping("age", ("young", "middle", "old"), age),
    }
    manifest = Manifest(
        path=Path("manifest.yaml"), name="", images=Path(), classes=("a", "b"), transform=None,  # type: ignore[arg-type]
        sha256="", files=("",) * n, labels=data.labels, splits=np.full(n, 2, np.int8), rows=np.zeros(n, np.int64),
        attributes=attributes, persons=None, table="", warnings=(),
    )  # fmt: skip
    grouping = manifest.grouping("gender*age")
    assert len(grouping.groups) == 5
    counts = data._replace(groups=grouping.index).counts(5, 2)
    record = audited(counts, grouping.groups)
    both = {"gender": np.array(["m", "f"])[data.groups], "age": np.array(["young", "middle", "old"])[age]}
    for name, metric in BINARY.items():
        features = np.column_stack(list(both.values()))
        expected = metric(data.labels, data.predicted, sensitive_features=features)
        assert fairness.get(name, 2).exact(counts) == pytest.approx(expected, abs=1e-12)
        assert record["metrics"][name]["value"] == pytest.approx(expected, abs=1e-12)
    expected = fairlearn.MetricFrame(
        metrics=skl.accuracy_score, y_true=data.labels, y_pred=data.predicted, sensitive_features=both
    )
    assert fairness.get("accuracy", 2).exact(counts) == pytest.approx(expected.difference(), abs=1e-12)
    mine = {tuple(name.split("*")): group["accuracy"] for name, group in record["groups"].items()}
    assert mine == pytest.approx(expected.by_group.dropna().to_dict())


@pytest.mark.parametrize("name", [*BINARY, "accuracy"])
def test_weighted_images_count_for_what_they_stand_for(name: str) -> None:
    """The running rates of training, with weights, through logits: fairlearn's `sample_weight`."""
    data = draw(3, 2)
    rng = np.random.default_rng(5)
    weights = rng.uniform(0.2, 3.0, size=len(data.labels)).astype(np.float32)
    logits = rng.normal(size=(len(weights), 2)).astype(np.float32)
    logits.sort(axis=1)
    logits[data.predicted == 0] = logits[data.predicted == 0, ::-1]
    constraint = Constraint(
        fairness.get(name, 2), [3], relaxations.get("logistic"), tolerance=0.0, rate=0.1, cap=1.0, memory=1e12
    )
    half = len(weights) // 2
    for part in (slice(None, half), slice(half, None)):
        constraint.observe(
            torch.tensor(logits[part]), torch.tensor(data.labels[part]), torch.tensor(data.groups[part, None]),
            torch.tensor(weights[part]),
        )  # fmt: skip
    if name == "accuracy":
        expected = frame(skl.accuracy_score, data, sample_params={"sample_weight": weights}).difference()
    else:
        expected = BINARY[name](
            data.labels, data.predicted, sensitive_features=data.groups, sample_weight=weights.astype(float)
        )
    assert constraint.violations()[0].exact == pytest.approx(expected, abs=1e-6)


def test_a_rate_without_a_population_is_left_out_where_fairlearn_says_zero() -> None:
    """A perfect classifier, and a group without positives: fairlearn's opportunity difference is 1, ours undefined."""
    data = Images(np.array([0, 1] * 4 + [0] * 4), np.array([0, 1] * 4 + [0] * 4), np.array([0] * 8 + [1] * 4))
    counts = data.counts(2, 2)
    record = audited(counts)
    assert fairlearn.equal_opportunity_difference(*data[:2], sensitive_features=data.groups) == 1.0
    assert np.isnan(fairness.get("opportunity", 2).exact(counts))
    assert record["metrics"]["opportunity"] is None
    assert record["metrics"]["opportunity_undefined"].startswith("fewer than two groups have 1 images labelled b")
    assert fairlearn.equalized_odds_difference(*data[:2], sensitive_features=data.groups) == 1.0
    assert fairness.get("odds", 2).exact(counts) == 0.0  # the negatives' recall is there for both
    assert record["metrics"]["odds"] is None  # a report claims nothing about a half of the notion


@pytest.mark.parametrize("name", ["opportunity", "odds"])
def test_a_group_without_positives_does_not_hide_the_gap_of_the_others(name: str) -> None:
    data = draw(3, 2, seed=4)
    bare = data.groups == 2
    data = data._replace(labels=np.where(bare, 0, data.labels))
    expected = BINARY["opportunity"](*(x[~bare] for x in data[:2]), sensitive_features=data.groups[~bare])
    if name == "odds":
        alarms = frame(fairlearn.false_positive_rate, data).difference()  # all three have negatives
        expected = max(expected, alarms)
    counts = data.counts(3, 2)
    assert fairness.get(name, 2).exact(counts) == pytest.approx(expected, abs=1e-12)
    figure = audited(counts)["metrics"][name]
    assert figure["value"] == pytest.approx(expected, abs=1e-12)
    assert figure["small_groups"] == ["2"]
    assert BINARY[name](*data[:2], sensitive_features=data.groups) > expected
