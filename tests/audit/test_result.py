"""What a notion's own definition says, what the audit reports of it, and what a gate judges: one figure, not three."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fairprune_cli.audit import to_json
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.audit.gates import GatePolicy
from fairprune_cli.audit.judging import evaluate
from fairprune_cli.audit.policy import Policy
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.fairness import notions
from fairprune_cli.fairness.notions.base import Notion

EVERYONE = Judgement(min_group=1)


def counted(g: int, k: int, seed: int, n: int = 300) -> tuple[AuditResult, dict[str, np.ndarray]]:
    """An audit of a dense and a pruned model, and the images it counted: labels, groups, dense and pruned [n]."""
    rng = np.random.default_rng([seed, g, k])
    cells = np.concatenate([np.tile(np.arange(g * k), 2), rng.integers(g * k, size=n)])  # every label in every group
    images = dict(zip(("groups", "labels"), np.divmod(cells, k), strict=True))
    for model, share in (("dense", 0.2), ("pruned", 0.4)):
        wrong = rng.random(len(cells)) < share * rng.random(g)[images["groups"]]
        images[model] = np.where(wrong, rng.integers(k, size=len(cells)), images["labels"])
    counts = {m: np.zeros((g, k, k), np.int64) for m in ("dense", "pruned")}
    pairs = np.zeros((g, 2, 2), np.int64)
    for group, label, dense, pruned in zip(*(images[x] for x in ("groups", "labels", "dense", "pruned")), strict=True):
        counts["dense"][group, label, dense] += 1
        counts["pruned"][group, label, pruned] += 1
        pairs[group, int(dense == label), int(pruned == label)] += 1
    result = AuditResult(
        tuple("wxyz"[:k]), {"a": tuple("ABCDE"[:g])}, {m: c.sum(0) for m, c in counts.items()},
        {m: {"a": c} for m, c in counts.items()}, {"pruned": pairs.sum(0)}, {"pruned": {"a": pairs}}, {"a": 0},
    )  # fmt: skip
    return result, images


def judged(result: AuditResult, notion: str, model: str = "pruned") -> Any:
    policy = GatePolicy(max_gap=0.05, notion=notion, min_group=1)
    ((gate,), _) = evaluate(result.figures(EVERYONE), policy, model=model)
    return gate


@pytest.mark.parametrize("k", [2, 3, 4])
@pytest.mark.parametrize("g", [2, 3, 5])
@pytest.mark.parametrize("name", notions.names())
def test_definition_audit_and_gate_agree(name: str, g: int, k: int) -> None:
    result, _ = counted(g, k, seed=1)
    notion = notions.get(name, k)
    reference, _ = notion.rates(result.counts("dense", "a"))
    exact = notion.exact(result.counts("pruned", "a"), reference)
    assert exact > 0
    gate = judged(result, name)
    assert gate.value == pytest.approx(exact, abs=1e-12)
    assert gate.notion == name
    assert gate.low <= gate.value <= gate.high
    document = to_json.audit_record(result.figures(EVERYONE))
    record = document["results"]["pruned"]["attributes"]["a"]
    if notion.relative:
        written = document["degradation"]["a"]["gap"]
    elif notion.compares == "accuracies":
        written = record["gap"]
    else:
        written = record["metrics"][to_json.metric_key(name)]["value"]
    assert written == gate.value


def alarms_of_the_first(classes: int) -> Notion:
    """A made-up notion: how often the first class is predicted for images of the others. One rate."""
    event, population = np.zeros((1, classes, classes), bool), np.ones((1, classes), bool)
    event[0, :, 0] = True
    population[0, 0] = False
    return Notion("first-alarms", event, population, np.array([-1]))


def losses_of_the_first(classes: int) -> Notion:
    """Another: how much of the first class is lost against the dense model, which no audit counts."""
    return Notion(
        "first-lost", np.eye(classes, dtype=bool)[None], np.eye(classes, dtype=bool)[:1], np.array([1]), relative=True
    )


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up notions beside the others, as files in the folder would be."""
    made = {"first-alarms": alarms_of_the_first, "first-lost": losses_of_the_first}
    before = notions.names()
    find = notions.registry.find

    def found(package: str, name: str, kind: str) -> Any:
        return SimpleNamespace(build=made[name]) if name in made else find(package, name, kind)

    monkeypatch.setattr(notions, "names", lambda: sorted([*before, *made]))
    monkeypatch.setattr(notions.registry, "find", found)


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_notion_that_is_new_is_judged_as_itself(k: int) -> None:
    result, images = counted(4, k, seed=2)
    rates = []
    for group in range(4):
        hits = among = 0
        for of, label, predicted in zip(images["groups"], images["labels"], images["pruned"], strict=True):
            if of == group and label != 0:
                among += 1
                hits += predicted == 0
        rates.append(hits / among)
    by_hand = max(rates) - min(rates)
    assert by_hand != pytest.approx(judged(result, "accuracy").value, abs=1e-3)
    assert judged(result, "first-alarms").value == pytest.approx(by_hand, abs=1e-12)
    ((rule,), _) = Policy.parse({"min_group": 1, "rules": [{"notion": "first-alarms", "max_gap": 0.05}]}).judge(result)
    assert rule.value == pytest.approx(by_hand, abs=1e-12)
    assert rule.name == "max-gap a (first-alarms)"
    metrics = to_json.audit_record(result.figures(EVERYONE))["results"]["pruned"]["attributes"]["a"]["metrics"]
    assert metrics["first_alarms"]["value"] == pytest.approx(by_hand, abs=1e-12)
    assert "among images labelled" in metrics["first_alarms"]["rate"]


@pytest.mark.usefixtures("listed")
def test_what_cannot_be_counted_is_inconclusive_and_never_another_figure() -> None:
    result, _ = counted(3, 2, seed=3)
    gate = judged(result, "first-lost")
    assert (gate.value, gate.verdict) == (None, "inconclusive")
    assert "pairs right and wrong answers" in gate.reason
    assert judged(result, "degradation", model="dense").reason.endswith("no dense model was audited on the same images")


def test_a_notion_of_ones_own_is_audited_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    result, _ = counted(3, 3, seed=4)
    own, get = "mine.notions:alarms", notions.get
    monkeypatch.setattr(notions, "get", lambda name, k: alarms_of_the_first(k) if name == own else get(name, k))
    exact = alarms_of_the_first(3).exact(result.counts("pruned", "a"))
    figures = result.figures(Judgement(min_group=1, notions=(own,)))
    ((gate,), _) = evaluate(figures, GatePolicy(max_gap=0.05, notion=own, min_group=1))
    assert gate.value == pytest.approx(exact, abs=1e-12)
    assert judged(result, own).reason == f"could not be computed: the audit was made without the notion {own}"


def test_an_unknown_notion_is_refused_with_the_nearest() -> None:
    with pytest.raises(FairpruneError, match="opportunity"):
        GatePolicy(max_gap=0.1, notion="oportunity")
    with pytest.raises(FairpruneError, match="did you mean 'odds'"):
        Policy.parse({"rules": [{"notion": "ods", "max_gap": 0.1}]})
    with pytest.raises(FairpruneError, match="unknown notion 'ods'"):
        counted(2, 2, seed=5)[0].figures(Judgement(notions=("ods",)))
    with pytest.raises(FairpruneError, match="only where the call does too: --notion mine:Notion"):
        Policy.parse({"rules": [{"notion": "mine:Notion", "max_gap": 0.1}]})
