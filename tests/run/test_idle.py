"""Settings without effect are told, by what each needs and what each method reads."""

from __future__ import annotations

import inspect
import re

import pytest

from fairprune_cli.pruning import methods
from fairprune_cli.run.idle import READ_BY, idle
from fairprune_cli.run.options import FIELDS, resolve

BY_METHOD = {key for key, field in FIELDS.items() if field.metadata["by_method"]}


def told(command: str, *names: str, **given: str) -> list[str]:
    settings = resolve(given, {}, None).settings
    return list(idle([key for key in given if key != "method"], settings, command, names or (settings.method,)))


@pytest.mark.parametrize("name", methods.names())
def test_a_method_says_what_its_code_reads(name: str) -> None:
    method = methods.get(name)
    bases = [one for one in method.__mro__ if one not in (methods.Method, object)]
    source = "".join(map(inspect.getsource, bases))
    found = {key for key in re.findall(r"options\.(\w+)", source) if key in BY_METHOD}
    if method.gradual.__func__ is methods.Method.gradual.__func__:  # type: ignore[attr-defined]
        found.add("ramp_share")
    elif "ramp_share" in found and "ramp_share" not in inspect.getsource(method.gradual):
        found.discard("ramp_share")
    assert set(method.reads or ()) == found


@pytest.mark.parametrize(("command", "given", "said"), [
    ("prune", {"method": "magnitude", "tolerance": "0.1"}, "--tolerance changes nothing: magnitude does not read it"),
    ("train", {"group_thresholds": True}, "--group-thresholds changes nothing: fairprune train does not read it"),
    ("prune", {"method": "ceag", "bound": "upper"}, "--bound changes nothing: ceag does not read it"),
    ("prune", {"rho": "0.5", "mask_step": "first-order"}, "--rho changes nothing without --mask-step second-order"),
    ("prune", {"granularity": "weight", "round_to": "8"}, "--round-to changes nothing without --granularity channel"),
    ("prune", {"temperature": "3"}, "--temperature changes nothing without --distill"),
    ("prune", {"fairness_on": "none", "tolerance": "0.1"}, "without --fairness-on both or weights or mask"),
    ("audit", {"point_estimate": True}, "--point-estimate changes nothing without --max-gap or"),
    ("audit", {"tolerance": "0.1"}, "--tolerance changes nothing: fairprune audit does not read it"),
    ("train", {"rho": "0.1"}, "--rho changes nothing: fairprune train does not read it"),
])  # fmt: skip
def test_what_changes_nothing_is_told(command: str, given: dict[str, str], said: str) -> None:
    (text,) = told(command, **given)
    assert said in text


@pytest.mark.parametrize(("command", "given"), [
    ("prune", {"tolerance": "0.1"}), ("prune", {"method": "ceag", "tolerance": "0.1"}),
    ("prune", {"method": "magnitude", "tolerance": "0.1", "group_thresholds": True}),
    ("prune", {"fairness_on": "none", "target": "dense", "group_thresholds": True}),
    ("prune", {"method": "magnitude", "notion": "odds", "max_gap": "0.1"}),
    ("audit", {"point_estimate": True, "max_gap": "0"}), ("prune", {"temperature": "3", "distill": "0.5"}),
    ("prune", {"method": "snip", "saliency_batches": "4"}), ("train", {"momentum": "0.8"}),
])  # fmt: skip
def test_what_has_an_effect_is_not(command: str, given: dict[str, str]) -> None:
    assert told(command, **given) == []


def test_of_several_methods_one_that_reads_it_is_enough() -> None:
    assert told("compare", "magnitude", "bifp", tolerance="0.1") == []
    assert len(told("compare", "magnitude", "snip", tolerance="0.1")) == 1


def test_a_method_of_ones_own_may_read_anything() -> None:
    own = type("Own", (methods.get("magnitude"),), {})
    assert own.settings_read() is None


def test_every_command_reads_settings_that_there_are() -> None:
    assert all(keys <= set(FIELDS) for keys in READ_BY.values())
