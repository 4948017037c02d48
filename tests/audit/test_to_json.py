"""The dataclasses against docs/report.schema.json, in both directions: no field that the schema does not know, no key
of the schema that no field fills, and no field that is lost on the way.

The instances are built from the fields' own types, so that a field that is added is in the test at once.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from fairprune_cli.audit import figures, to_json
from fairprune_cli.audit.faithfulness_figures import Exemplars
from fairprune_cli.audit.faithfulness_json import exemplars_record
from fairprune_cli.audit.figures import AuditFigures, BinaryRates, ClassRates, Examples, StorageCost
from fairprune_cli.audit.gates import GateResult
from fairprune_cli.audit.points_in_use import PointsFigures
from fairprune_cli.audit.points_json import points_record

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "report.schema.json").read_text("utf-8"))
# Values that are not free: what the schema, or the figure's own meaning, restricts.
FIXED = {
    "verdict": "inconclusive", "way": "gained", "metric": "max-gap", "format": "fp16", "compares": "rates",
    "pictures": {"a.png": "data:image/jpeg;base64,AAAA"}, "evidence": None,
}  # fmt: skip
# How figures were made, or what gates judge by; the report holds it elsewhere or says it in words.
NOT_WRITTEN = {
    ("Judgement", "seed"), ("Judgement", "notions"), ("Judgement", "family"), ("GapFigure", "compares"),
    ("GapFigure", "against"), ("GapFigure", "denominators"), ("GroupPoints", "task"), ("GroupPoints", "threshold"),
}  # fmt: skip
IN_THE_NAME = {("GateResult", "label"), ("GateResult", "qualifier")}


class Builder:
    """Instances of dataclasses from the types of their fields; every number is another one.

    `defined` fills what may be None, `rates` is the kind of a group's rates.
    """

    def __init__(self, defined: bool, rates: type) -> None:
        self.defined, self.rates, self.count = defined, rates, 0

    def build(self, kind: Any, name: str = "") -> Any:
        self.count += 1
        if name in FIXED:
            return FIXED[name]
        if dataclasses.is_dataclass(kind):
            hints = typing.get_type_hints(kind)
            return kind(**{f.name: self.build(hints[f.name], f.name) for f in dataclasses.fields(kind)})
        origin, args = typing.get_origin(kind), typing.get_args(kind)
        if origin in (typing.Union, types.UnionType):
            if self.rates in args:
                return self.build(self.rates)
            some = [arg for arg in args if arg is not type(None)]
            return self.build(some[0]) if self.defined or dataclasses.is_dataclass(some[0]) else None
        if origin is tuple:
            return tuple(self.build(args[0]) for _ in range(2))
        if isinstance(origin, type) and issubclass(origin, Mapping):
            keys: list[Any] = ["pruned", "other"] if args[0] is str else [("pruned", "a", "b"), ("pruned", "a", "c")]
            return {key: self.build(args[1]) for key in keys}
        return {bool: True, int: self.count, float: self.count / 65536, str: f"text {self.count}"}[kind]


Parts = tuple[AuditFigures, GateResult, StorageCost, Examples, Exemplars, PointsFigures]


def parts(defined: bool, rates: type) -> Parts:
    builder = Builder(defined, rates)
    figures_, gate, storage, examples, exemplars, points = (builder.build(k) for k in typing.get_args(Parts))
    return figures_, gate, storage, examples, exemplars, points


def written(made: Parts) -> dict[str, Any]:
    found, gate, storage, examples, exemplars, points = made
    table = None if found.models.keys() == {"dense"} else "changed.csv"
    return to_json.audit_record(found) | {
        "gates": [to_json.gate_record(gate)],
        "storage": to_json.storage_record(storage),
        "examples": to_json.examples_record(examples),
        "exemplars": exemplars_record(exemplars, table),
        "group_thresholds": {"pruned": points_record(points)},
    }


def alone() -> Parts:
    """A model without a dense one, calibration or pictures, of more than two classes."""
    found, *others = parts(True, BinaryRates)
    model = found.models["pruned"]
    attributes = {}
    for name, of in model.attributes.items():
        assert of.bias is not None
        attributes[name] = dataclasses.replace(of, bias=dataclasses.replace(of.bias, rare=""))
    model = dataclasses.replace(
        model, against_dense=None, degradation={}, calibration=None, bins=(), churn=None, faithfulness={},
        attributes=attributes,
    )  # fmt: skip
    return dataclasses.replace(found, models={"dense": model}), *others  # type: ignore[return-value]


ALL = [*(parts(defined, rates) for defined in (True, False) for rates in (BinaryRates, ClassRates)), alone()]


def same_level(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema and all that it refers to or combines, about the same value."""
    yield schema
    if "$ref" in schema:
        yield from same_level(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    for word in ("allOf", "anyOf"):
        for part in schema.get(word, ()):
            yield from same_level(part)


def unknown(schema: Mapping[str, Any], value: Any, seen: set[tuple[int, str]], path: str = "") -> Iterator[str]:
    """Keys of the value that the schema does not know; what it does know is added to `seen`."""
    levels = list(same_level(schema))
    if isinstance(value, list):
        for item in value:
            yield from unknown({"allOf": [s["items"] for s in levels if "items" in s]}, item, seen, f"{path}[]")
    if isinstance(value, dict):
        for key, item in value.items():
            having = [s for s in levels if key in s.get("properties", ())]
            seen |= {(id(s), key) for s in having}
            of = [s["properties"][key] for s in having]
            if not of:
                patterns = [s.get("patternProperties", {}) for s in levels]
                of = [sub for found in patterns for pattern, sub in found.items() if re.search(pattern, key)]
            of = of or [s["additionalProperties"] for s in levels if "additionalProperties" in s]
            if not of:
                yield f"{path}.{key}"
            yield from unknown({"allOf": of}, item, seen, f"{path}.{key}")


def promised(schema: Mapping[str, Any], done: set[int], path: str = "") -> Iterator[tuple[int, str, str]]:
    """Every property that is named anywhere below the schema: (of which schema, key, path)."""
    for level in same_level(schema):
        if id(level) in done:
            continue
        done.add(id(level))
        for key, sub in level.get("properties", {}).items():
            yield id(level), key, f"{path}.{key}"
            yield from promised(sub, done, f"{path}.{key}")
        for word in ("items", "additionalProperties"):
            if isinstance(level.get(word), dict):
                yield from promised(level[word], done, f"{path}.*")


ROOT = {
    "properties": {
        key: SCHEMA["properties"][key]
        for key in (
            "confidence", "min_group", "results", "degradation", "degradations", "degradation_undefined", "gates",
            "storage", "examples", "exemplars", "causes", "group_thresholds",
        )
    }
}  # fmt: skip


@pytest.mark.parametrize("made", ALL)
def test_what_is_written_fits_the_schema_and_is_in_it(made: Parts) -> None:
    document = written(made)
    json.dumps(document, allow_nan=False)
    for key, value in document.items():
        validator = Draft202012Validator({**SCHEMA["properties"][key], "$defs": SCHEMA["$defs"]})
        assert [f"{key}{e.json_path}: {e.message}" for e in validator.iter_errors(value)] == []
    assert list(unknown(ROOT, document, set())) == []


def test_every_key_of_the_schema_is_filled() -> None:
    seen: set[tuple[int, str]] = set()
    for made in ALL:
        assert list(unknown(ROOT, written(made), seen)) == []
    # The notions' own keys are those of the listing; tests/audit/test_result.py fills them.
    of_notions = {".parity", ".opportunity", ".odds"}
    missing = [p for level, key, p in promised(ROOT, set()) if (level, key) not in seen]
    assert [path for path in missing if not any(path.endswith(f".metrics{n}") for n in of_notions)] == []


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str, str, Any]]:
    """(path, class, field, value) of every leaf of a tree of dataclasses, mappings and tuples."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if (type(value).__name__, field.name) in NOT_WRITTEN:
                continue
            if isinstance(item, str | int | float):
                yield (*path, field.name), type(value).__name__, field.name, item
            else:
                yield from fields(item, (*path, field.name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from fields(item, (*path, key))
    elif isinstance(value, tuple):
        for at, item in enumerate(value):
            yield from fields(item, (*path, at))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of the tree with another leaf."""
    if not path:
        return new
    at, *rest = path
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **{at: changed(getattr(value, at), tuple(rest), new)})  # type: ignore[type-var]
    if isinstance(value, Mapping):
        return {**value, at: changed(value[at], tuple(rest), new)}
    return tuple(changed(item, tuple(rest), new) if i == at else item for i, item in enumerate(value))


def test_no_field_is_lost_on_the_way() -> None:
    told: dict[tuple[str, str], bool] = {}
    for made in ALL[:4]:
        before = written(made)
        for path, of, name, value in fields(made):
            key = (of, name)
            if told.get(key):
                continue
            new = f"{value}!" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1
            told[key] = written(changed(made, path, new)) != before
    assert [key for key, is_told in told.items() if not is_told] == []
    kinds = {
        kind.__name__ for kind in vars(figures).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    }
    # Classes without a leaf of their own hold others, which are in the list.
    assert kinds - {of for of, _ in told} == {
        "BinaryRates", "ClassRates", "DegradationFigures", "AuditFigures", "FigureOptions",
        "FaithfulnessFigures", "ChurnFigures",
    }  # fmt: skip
    assert told.keys() >= IN_THE_NAME
