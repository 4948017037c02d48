"""Policy files: what they say, what is wrong with them, how they meet flags, and how they are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fairprune_cli
from fairprune_cli.audit.gates import GatePolicy
from fairprune_cli.audit.policy import Policy, policy_of, with_policy
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.run.options import resolve

GROUPS = {"gender": ("male", "female"), "age": ("young", "old")}


def audited(
    right: dict[str, tuple[int, int]], n: int = 2000, names: tuple[str, ...] = ("gender", "age")
) -> AuditResult:
    """Counts in which model m has right[m] of n images right in either group of every attribute."""
    tables, pairs = {}, {}
    for model, of in right.items():
        tables[model] = np.array([[[k // 2, (n - k) // 2], [n - k - (n - k) // 2, k - k // 2]] for k in of])
        if model != "dense" and "dense" in right:
            before = right["dense"]
            pairs[model] = np.array([
                [[n - max(b, k), max(k - b, 0)], [max(b - k, 0), min(b, k)]] for b, k in zip(before, of, strict=True)
            ])  # fmt: skip
    return AuditResult(
        ("no", "yes"), {name: GROUPS[name] for name in names}, {m: t.sum(0) for m, t in tables.items()},
        {m: dict.fromkeys(names, t) for m, t in tables.items()}, {m: t.sum(0) for m, t in pairs.items()},
        {m: dict.fromkeys(names, t) for m, t in pairs.items()}, dict.fromkeys(names, 0),
    )  # fmt: skip


def judged(policy: Policy, result: AuditResult) -> dict[str, str]:
    gates, _ = policy.judge(result)
    assert len({gate.name for gate in gates}) == len(gates)  # no two gates share a name
    return {gate.name: gate.verdict for gate in gates}


def write(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text, "utf-8")
    return path


TEXT = """
version: 1
confidence: 0.9
min_group: 50
max_gap: 0.2
rules:
  - {attribute: gender, notion: odds, max_gap: 0.01, name: strict}
  - {attribute: [gender, "age * gender"], max_degradation: 0.05, confidence: 0.99}
  - {attribute: age, min_accuracy: 0.85, min_group: 10}
  - {min_accuracy: 0.5, point_estimate: true}
"""


def test_a_file_is_read_with_its_top_as_default_of_its_rules(tmp_path: Path) -> None:
    policy = Policy.read(write(tmp_path, TEXT))
    assert policy.sha256
    assert policy.attributes == ("gender", "age*gender", "age")
    assert policy.needs_dense(2)
    assert [rule.gates for rule in policy.rules] == [
        GatePolicy(max_gap=0.2, confidence=0.9, min_group=50),
        GatePolicy(max_gap=0.01, confidence=0.9, min_group=50, notion="odds"),
        GatePolicy(max_degradation=0.05, confidence=0.99, min_group=50),
        GatePolicy(min_accuracy=0.85, confidence=0.9, min_group=10),
        GatePolicy(min_accuracy=0.5, confidence=0.9, min_group=50, point_estimate=True),
    ]
    assert fairprune_cli.Policy is Policy


def test_a_rule_may_bound_churn_and_then_needs_the_dense_model(tmp_path: Path) -> None:
    policy = Policy.read(write(tmp_path, "rules: [{attribute: gender, max_churn: 0.1, confidence: 0.9}]"))
    assert [rule.gates for rule in policy.rules] == [GatePolicy(max_churn=0.1, confidence=0.9)]
    assert policy.needs_dense(2)
    assert not Policy.parse({"rules": [{"min_accuracy": 0.5}]}).needs_dense(2)
    with pytest.raises(FairpruneError, match="max_churn"):
        Policy.read(write(tmp_path, "max_churn: 5"))


def test_every_fault_is_told_at_once_and_unknown_keys_name_the_nearest(tmp_path: Path) -> None:
    text = """
versoin: 1
confidence: 2
rules:
  - {atribute: gender, max_gap: 0.1}
  - {attribute: gender}
  - {attribute: gender, max_gap: a lot}
  - {attribute: [1], max_gap: 0.1}
  - {notion: parety, max_gap: 0.1}
  - {notion: odds, metric: odds, max_gap: 0.1}
  - text
"""
    with pytest.raises(FairpruneError) as caught:
        Policy.read(write(tmp_path, text))
    told = str(caught.value)
    for part in (
        "'versoin'; did you mean 'version'?", "confidence: a share from 0.5 to 0.999, and not 2",
        "rule 1: unknown key 'atribute'; did you mean 'attribute'?", "rule 2: has no bound", "rule 3: max_gap: 'a lot'",
        "rule 4: attribute: [1]", "'parety'; did you mean 'parity'?", "rule 6: metric is another word for notion",
        "rule 7: must be a mapping",
    ):  # fmt: skip
        assert part in told
    assert told.startswith(str(tmp_path / "policy.yaml"))


@pytest.mark.parametrize("text", ["", "[1]", "a: b: c", "{}", "rules: []", "\x00"])
def test_what_is_no_policy_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(FairpruneError):
        Policy.read(write(tmp_path, text))
    with pytest.raises(FairpruneError, match="no such policy"):
        Policy.read(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rules: [{max_gap: 0.1}]\nrules: [{min_accuracy: 0.5}]", "line 2: the key 'rules' stands twice"),
        ("rules:\n  - {max_gap: 0.1, max_gap: 0.9}", "line 2: the key 'max_gap' stands twice"),
        ("max_gap: 0.1\nconfidence: 0.9\n'max_gap': 0.9", "line 3: the key 'max_gap' stands twice"),
        ("confidence: 0.9\nrules:\n#  - {max_gap: 0.1}\n", "rules: is empty"),
        ("x: &x [a, a]\nrules: [" + "*x, " * 60_000 + "]", "holds more than"),
    ],
)
def test_no_rule_is_lost_silently(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(FairpruneError, match=expected):
        Policy.read(write(tmp_path, text))


def test_a_python_object_in_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match="cannot be read"):
        Policy.read(write(tmp_path, "rules: !!python/object/apply:os.system [exit 7]"))


def test_flags_replace_what_stands_at_the_top_and_add_to_the_rules(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    plain = with_policy(resolve({"policy": str(path)}, {}, None))
    assert (plain.settings.confidence, plain.settings.max_gap) == (0.9, 0.2)
    assert plain.sources["confidence"] == str(path)
    assert plain.settings.policy == str(path)
    flags = {"policy": str(path), "confidence": "0.8", "max_gap": "0.3", "max_degradation": "0.4"}
    resolved = with_policy(resolve(flags, {"FAIRPRUNE_MIN_GROUP": "70"}, None))
    assert (resolved.sources["confidence"], resolved.sources["min_group"]) == ("flag", "environment")
    gates = [rule.gates for rule in policy_of(resolved.settings).rules]
    assert gates[0] == GatePolicy(max_gap=0.3, max_degradation=0.4, confidence=0.8, min_group=70)
    assert gates[2] == GatePolicy(max_degradation=0.05, confidence=0.99, min_group=70)  # a rule's own value stands
    assert len(gates) == 5


def test_settings_alone_are_a_policy_too() -> None:
    assert policy_of(resolve({}, {}, None).settings) == Policy()
    policy = policy_of(resolve({"max_gap": "0.1", "notion": "odds"}, {}, None).settings)
    assert list(judged(policy, audited({"dense": (1800, 1800)}))) == ["max-gap gender", "max-gap age"]
    with pytest.raises(FairpruneError, match="notion"):
        policy_of(resolve({"notion": "parety"}, {}, None).settings)


def parsed(*rules: dict[str, Any], **top: Any) -> Policy:
    return Policy.parse({"rules": list(rules), **top})


def test_rules_look_at_their_attributes_only() -> None:
    result = audited({"dense": (1900, 1700)})
    assert judged(parsed({"attribute": "age", "max_gap": 0.05}), result) == {"max-gap age": "fail"}
    assert judged(parsed({"max_gap": 0.2}), result) == {"max-gap gender": "pass", "max-gap age": "pass"}
    both = parsed({"attribute": "age", "max_gap": 0.05}, {"attribute": "age", "metric": "parity", "max_gap": 0.2})
    assert judged(both, result) == {"max-gap age": "fail", "max-gap age (parity)": "pass"}


def test_accuracy_of_an_attribute_is_that_of_its_worst_group() -> None:
    result = audited({"dense": (1900, 1700)})
    rules = parsed({"min_accuracy": 0.88}, {"attribute": "gender", "min_accuracy": 0.88, "name": "each"})
    assert judged(rules, result) == {"min-accuracy": "pass", "each: min-accuracy gender": "fail"}


def test_a_rule_has_its_own_confidence_and_least_group() -> None:
    result = audited({"dense": (190, 180)}, n=200)
    sure, unsure = ({"attribute": "age", "max_gap": 0.01, "confidence": c, "name": str(c)} for c in (0.999, 0.5))
    assert list(judged(parsed(sure, unsure), result).values()) == ["inconclusive", "fail"]
    few = parsed({"attribute": "age", "max_gap": 0.99, "min_group": 300}, {"attribute": "gender", "max_gap": 0.99})
    gates, verdict = few.judge(result)
    assert [gate.verdict for gate in gates] == ["inconclusive", "pass"]
    assert "fewer than two groups have 300 images" in gates[0].reason
    assert gates[0].min_group == 300
    assert verdict == "inconclusive"


def test_what_was_not_audited_is_never_a_pass() -> None:
    result = audited({"dense": (1900, 1900)}, names=("gender",))
    rules = parsed(
        {"attribute": "age", "max_gap": 0.99}, {"attribute": "age", "min_accuracy": 0.01},
        {"attribute": "gender", "max_degradation": 0.99}, {"attribute": "age", "max_gap": 0.9, "notion": "degradation"},
    )  # fmt: skip
    gates, verdict = rules.judge(result)
    assert {gate.verdict for gate in gates} == {"inconclusive"}
    assert "age was not audited" in gates[0].reason
    assert "no dense model" in gates[2].reason
    assert verdict == "inconclusive"


def test_every_model_beside_the_dense_one_is_judged_and_one_failure_is_enough() -> None:
    result = audited({"dense": (1900, 1850), "a": (1880, 1840), "b": (1880, 1600)})
    policy = parsed({"attribute": "age", "max_gap": 0.06, "max_degradation": 0.06})
    assert judged(policy, result) == {
        "max-gap age [a]": "pass", "max-degradation age [a]": "pass",
        "max-gap age [b]": "fail", "max-degradation age [b]": "fail",
    }  # fmt: skip
    assert policy.judge(result)[1] == "fail"
    alone = audited({"dense": (1900, 1850), "pruned": (1880, 1840)})
    assert list(judged(policy, alone)) == ["max-gap age", "max-degradation age"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("confidence: 0.9\nmin_group: 50\n", "has no rule"),
        ("max_gap:\nmin_accuracy: 0.5\n", "max_gap: is empty"),
        ("max_gap: null\nmin_accuracy: 0.5\n", "max_gap: is empty"),
        ("rules: [{max_gap: , min_accuracy: 0.5}]", "rule 1: max_gap: is empty"),
        ("rules: [{attribute: , min_accuracy: 0.5}]", "rule 1: attribute: is empty"),
        ("rules: [{attribute: [], min_accuracy: 0.5}]", "rule 1: attribute: is empty"),
        ("rules: [{notion: odds, min_accuracy: 0.5}]", "rule 1: notion has no effect"),
        ("max_gap: 1", "max_gap is 1.0: a gate that cannot fail has no effect"),
        ("rules: [{min_accuracy: 0}]", "rule 1: min_accuracy is 0.0: a gate that cannot fail has no effect"),
        ("max_degradation: 1.0", "max_degradation is 1.0: a gate that cannot fail"),
        ("max_gap: .nan", "nan is not a share from 0 to 1"),
        ("max_gap: yes", "True is not a share from 0 to 1"),
        ("max_gap: 0,1", "a share from 0 to 1; 0,1 is written 0.1"),
        ("max_gap: 0.1\nallow_small_groups: 1", "1 is neither true nor false"),
    ],
)
def test_what_would_have_no_effect_is_an_error(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(FairpruneError, match=expected):
        Policy.read(path)
    with pytest.raises(FairpruneError, match=expected):
        policy_of(with_policy(resolve({"policy": str(path)}, {}, None)).settings)


def test_small_groups_are_allowed_by_a_rule_by_the_top_or_by_a_flag(tmp_path: Path) -> None:
    path = write(tmp_path, "rules:\n  - {max_gap: 0.1}\n  - {max_gap: 0.2, allow_small_groups: true}\n")
    assert [rule.gates.allow_small_groups for rule in Policy.read(path).rules] == [False, True]
    flagged = resolve({"policy": str(path), "allow_small_groups": True}, {}, None)
    assert [rule.gates.allow_small_groups for rule in policy_of(with_policy(flagged).settings).rules] == [True, True]
    top = write(tmp_path, "allow_small_groups: true\nrules: [{max_gap: 0.1}]\n")
    assert [rule.gates.allow_small_groups for rule in Policy.read(top).rules] == [True]
