"""A policy: the gates of flags and settings, and those of a policy file, judged on one audit.

    version: 1
    confidence: 0.95            # at the top: any gate setting, for every rule that does not say otherwise
    max_gap: 0.10               # a gate on every attribute that is audited
    rules:
      - {attribute: gender, notion: odds, max_gap: 0.15}
      - {attribute: [age, gender*age], max_degradation: 0.05, min_group: 50, confidence: 0.9}
      - {attribute: gender, min_accuracy: 0.85, name: every gender}      # of the worst group
      - {min_accuracy: 0.9}                                              # over all images

What stands at the top comes after flag, environment and fairprune.yaml, as a default would. Rules always stand, and
take `--notion` where they name none; bounds given as flags are further gates on every attribute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fairprune_cli.audit.figures import AuditFigures, Judgement
from fairprune_cli.audit.gates import GatePolicy, GateResult, Unseen, cannot_fail, verdict
from fairprune_cli.audit.judging import evaluate
from fairprune_cli.audit.options import AuditOptions, GateOptions
from fairprune_cli.core.errors import FairpruneError, Problems, cut_text, nearest
from fairprune_cli.core.files import read_document, sha256_file
from fairprune_cli.core.limits import refusal
from fairprune_cli.core.settings import Resolved, check_value
from fairprune_cli.fairness import notions

if TYPE_CHECKING:
    from fairprune_cli.audit.result import AuditResult

BOUNDS = ("max_gap", "max_degradation", "max_churn", "min_accuracy")
TOP = (*BOUNDS, "min_group", "allow_small_groups", "confidence", "point_estimate")
SETTINGS = (*TOP, "notion")
_RULE_KEYS = (*SETTINGS, "attribute", "metric", "name")
_UNBOUNDED: dict[str, Any] = dict.fromkeys(BOUNDS)

A = TypeVar("A", bound=AuditOptions)


@dataclass(frozen=True)
class Rule:
    """Gates on some attributes.

    Attributes:
        gates: bounds and how they are judged.
        attributes: which are judged; empty for all that are audited (and for accuracy over all images).
        name: what its gates are called, before the metric.
        qualifier: its notion, where it names one other than accuracy: two gaps of one attribute need two names.
    """

    gates: GatePolicy
    attributes: tuple[str, ...] = ()
    name: str = ""
    qualifier: str = ""


@dataclass(frozen=True)
class Policy:
    """Rules, and the file they came from.

    Attributes:
        source: path of the file, "" where there is none.
        sha256: of the file's bytes.
    """

    rules: tuple[Rule, ...] = ()
    source: str = ""
    sha256: str = ""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes that rules name, each once, in their order."""
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.attributes))

    @property
    def notions(self) -> tuple[str, ...]:
        """Notions whose gaps are judged, each once."""
        return tuple(dict.fromkeys(rule.gates.notion for rule in self.rules if rule.gates.max_gap is not None))

    def needs_dense(self, classes: int) -> bool:
        """Whether a rule compares with a dense model; classes: how many the data has."""
        gates = [rule.gates for rule in self.rules]
        paired = any(asked.max_degradation is not None or asked.max_churn is not None for asked in gates)
        return paired or any(notions.get(name, classes).relative for name in self.notions)

    @classmethod
    def read(cls, path: str | Path, settings: GateOptions | None = None) -> Policy:
        """The whole policy of a file, what stands at its top included.

        Args:
            settings: what rules take where neither they nor the file's top say otherwise; the defaults if None.

        Raises:
            FairpruneError: the file cannot be read, or every fault in it at once.
        """
        content = _content(Path(path))
        return _parsed(content, settings or GateOptions(), str(path), sha256_file(Path(path)), top=True)

    @classmethod
    def parse(cls, content: Mapping[str, Any], settings: GateOptions | None = None) -> Policy:
        """The policy of a mapping, as `read` takes it from a file."""
        return _parsed(content, settings or GateOptions(), "policy", "", top=True)

    def judge(
        self, result: AuditResult, made: AuditFigures | None = None, unseen: Mapping[str, Unseen] | None = None
    ) -> tuple[list[GateResult], str]:
        """Judge every rule on every model beside the dense one, or on the dense one when it is alone.

        Args:
            result: counts, from which figures follow at any confidence.
            made: figures that are there already; rules that ask for others have them made, with the same seed.
            unseen: by attribute, what the data hold of it beside its groups.

        Returns:
            The gates, and one verdict over all of them: "pass", "fail", "inconclusive", or "none" without gates.
        """
        models = [name for name in result.overall if name != "dense"] or list(result.overall)
        known = {} if made is None else {made.judgement: made}
        usual = Judgement() if made is None else made.judgement
        listed = {*notions.names(), *usual.notions}
        asked = (*usual.notions, *(name for name in self.notions if name not in listed))
        found: list[GateResult] = []
        for model in models:
            for rule in self.rules:
                wanted = dataclasses.replace(
                    usual, confidence=rule.gates.confidence, min_group=rule.gates.min_group, notions=asked
                )
                if wanted not in known:
                    known[wanted] = result.figures(wanted)
                gates, _ = evaluate(known[wanted], rule.gates, rule.attributes, model, unseen)
                named = model if len(models) > 1 else ""
                for gate in gates:
                    qualifier = rule.qualifier if gate.metric == "max-gap" else ""
                    found.append(dataclasses.replace(gate, model=named, label=rule.name, qualifier=qualifier))
        return found, verdict(found)


def with_policy(resolved: Resolved[A]) -> Resolved[A]:
    """The settings with what stands at the top of their policy file in place of defaults."""
    settings = resolved.settings
    if settings.policy is None:
        return resolved
    path = Path(settings.policy)
    problems = Problems(str(path))
    top = _values(_content(path), TOP, problems, "")
    problems.raise_if_any()
    free = {key: value for key, value in top.items() if resolved.sources[key] == "default"}
    values = {**free, "policy": str(path.resolve())}  # a run may be continued from another folder
    return Resolved(dataclasses.replace(settings, **values), {**resolved.sources, **dict.fromkeys(free, str(path))})


def policy_of(settings: AuditOptions) -> Policy:
    """The gates that settings (flags among them) ask for, and the rules of their policy file.

    Raises:
        FairpruneError: the settings make no sense, or every fault of the file.
    """
    own = gate_policy(settings)
    rules = (Rule(own),) if any(getattr(own, bound) is not None for bound in BOUNDS) else ()
    if settings.policy is None:
        return Policy(rules)
    path = Path(settings.policy)
    read = _parsed(_content(path), settings, str(path), sha256_file(path), top=False)
    return dataclasses.replace(read, rules=(*rules, *read.rules))


def gate_policy(settings: GateOptions) -> GatePolicy:
    """The gates that the settings ask for; FairpruneError when they make no sense."""
    return GatePolicy(**{key: getattr(settings, key) for key in SETTINGS})


def _content(path: Path) -> Mapping[str, Any]:
    import yaml

    from fairprune_cli.core.yaml_text import yaml_values

    content = read_document(path, "policy", yaml_values, "yaml_bytes", "check --policy", yaml.YAMLError)
    if not isinstance(content, dict):
        raise FairpruneError("must be a mapping of keys to values", where=str(path), hint="see docs/ci.md")
    return content


def _parsed(content: Mapping[str, Any], settings: GateOptions, where: str, sha256: str, top: bool) -> Policy:
    problems = Problems(where)
    for key in content:
        if key not in ("version", "rules", *TOP):
            problems.add(_unknown(key, ("version", "rules", *TOP), problems))
    if content.get("version", 1) != 1:
        problems.add(f"version: this fairprune reads version 1, not {cut_text(repr(content['version']))}")
    values = _values(content, TOP, problems, "")
    if top:
        settings = dataclasses.replace(settings, **values)
    rules: list[Rule] = []
    own = settings if top else dataclasses.replace(settings, **_UNBOUNDED)
    if top and any(getattr(own, bound) is not None for bound in BOUNDS):
        rules.append(Rule(gate_policy(own)))
    listed = content.get("rules", [])
    if "rules" in content and not listed:
        problems.add("rules: is empty: give at least one rule, or remove the key")
        listed = []
    if not isinstance(listed, list):
        problems.add("rules: must be a list of rules")
        listed = []
    if over := refusal(len(listed), "policy_rules"):
        problems.add(f"rules: {over}")
        listed = []
    for number, item in enumerate(listed, 1):
        rule = _rule(item, settings, problems, f"rule {number}: ")
        if rule is not None:
            rules.append(rule)
    if not problems and not rules and not any(bound in values for bound in BOUNDS):
        problems.add(f"has no rule: give {', '.join(BOUNDS[:-1])} or {BOUNDS[-1]}, at the top or under rules")
    problems.raise_if_any("see docs/ci.md")
    return Policy(tuple(rules), where if sha256 else "", sha256)


def _rule(item: Any, settings: GateOptions, problems: Problems, place: str) -> Rule | None:
    before = len(problems.texts)
    if not isinstance(item, dict):
        problems.add(f"{place}must be a mapping of keys to values")
        return None
    for key in item:
        if key not in _RULE_KEYS:
            problems.add(place + _unknown(key, _RULE_KEYS, problems))
    if "metric" in item and "notion" in item:
        problems.add(f"{place}metric is another word for notion: give one of them")
    renamed = {"notion" if key == "metric" else key: value for key, value in item.items()}
    values = _values(renamed, SETTINGS, problems, place)
    if "notion" in values and (hint := _refused(values["notion"], settings)):
        problems.add(f"{place}unknown notion {values['notion']!r}; {hint}")
    if "notion" in values and "max_gap" not in renamed:
        problems.add(f"{place}notion has no effect: it says which gap max_gap bounds, and there is no max_gap")
    if not any(bound in item for bound in BOUNDS):
        problems.add(f"{place}has no bound: give one of {', '.join(BOUNDS)}")
    attributes = _attributes(item["attribute"], problems, place) if "attribute" in item else ()
    name = item.get("name", "")
    if not isinstance(name, str):
        problems.add(f"{place}name: {name!r} is not text")
    if len(problems.texts) > before:
        return None
    gates = gate_policy(dataclasses.replace(settings, **{**_UNBOUNDED, **values}))
    notion = values.get("notion", "accuracy")
    return Rule(gates, attributes, name, "" if notion == "accuracy" else notion)


def _unknown(key: Any, known: Sequence[str], problems: Problems) -> str:
    said = f"unknown key {cut_text(repr(key))}"
    return said if problems.full else f"{said}; {nearest(str(key), known)}"


def _refused(notion: str, settings: GateOptions) -> str:
    """Why a rule cannot ask for the notion, else "". A file never chooses code: one's own is named by the call."""
    if ":" in notion and notion != settings.notion:
        return f"a rule can name a notion of one's own only where the call does too: --notion {notion}"
    return notions.why_unknown(notion)


def _attributes(raw: Any, problems: Problems, place: str) -> tuple[str, ...]:
    listed: Any = [raw] if isinstance(raw, str) else raw
    if not isinstance(listed, list) or not listed or not all(isinstance(n, str) and n.strip() for n in listed):
        said = f"{raw!r} is neither a name nor a list of names" if raw else "is empty: give a name, or take it away"
        problems.add(f"{place}attribute: {said}")
        return ()
    return tuple("*".join(part.strip() for part in name.split("*")) for name in listed)


def _values(content: Mapping[str, Any], keys: Sequence[str], problems: Problems, place: str) -> dict[str, Any]:
    """The gate settings among the keys, checked. One without a value is a fault: something was meant by it."""
    values: dict[str, Any] = {}
    for key in keys:
        if key in content and content[key] is None:
            problems.add(f"{place}{key}: is empty: give a value, or take it away")
        elif key in content:
            try:
                values[key] = check_value(GateOptions, key, content[key])
            except ValueError as error:
                problems.add(f"{place}{key}: {cut_text(str(error))}")
                continue
            if key in BOUNDS and values[key] is not None and cannot_fail(key, values[key]):
                problems.add(f"{place}{key} is {values[key]}: a gate that cannot fail has no effect")
    return values
