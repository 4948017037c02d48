"""`fairprune config`: the list, one setting, the schema; and flags against settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fairprune_cli.commands.app import app
from fairprune_cli.commands.flags import text_of
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.settings import values_of
from fairprune_cli.run.options import FIELDS, Settings, resolve

SAMPLES = sorted((Path(__file__).parents[2] / "sample_configs").glob("*.yaml"))
Told = Callable[..., str]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Stdout of a command that ends with 0."""

    def run(*arguments: str) -> str:
        assert app(args=list(arguments), standalone_mode=False) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def schema(told: Told) -> jsonschema.Draft202012Validator:
    made = json.loads(told("config", "schema"))
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def plain(settings: Settings) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values_of(settings).items()}


def test_the_schema_takes_all_defaults_and_the_samples(schema: jsonschema.Draft202012Validator) -> None:
    schema.validate(plain(Settings()))
    properties = schema.schema["properties"]  # type: ignore[index,call-overload]
    assert {key: entry["default"] for key, entry in properties.items()} == plain(Settings())
    for path in SAMPLES:
        schema.validate(yaml.safe_load(path.read_text("utf-8")))


VALUES: list[tuple[str, Any]] = [
    ("sparsity", 1.0), ("sparsity", 0.0), ("sparsity", -0.1), ("lr", 0.0), ("lr", 10.0), ("lr", 10.1),
    ("momentum", 1.0), ("epochs", 0), ("epochs", 1), ("epochs", 1.5), ("epochs", 100_001), ("store", "fp8"),
    ("store", "bf16"), ("max_gap", None), ("max_gap", 1.5), ("seed", None), ("attr", ["a", "b*c"]), ("attr", "a,b"),
    ("attr", [1]), ("attr", 3), ("compile", True), ("compile", "yes"), ("method", "my_package.rules:Rule"),
    ("notion", "my_package.rules:Notion"), ("data", 3), ("confidence", 0.5), ("confidence", 0.4), ("upper_every", 0),
    ("sparsitty", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), VALUES)
def test_the_schema_takes_what_a_settings_file_takes(
    key: str, value: Any, schema: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    file = tmp_path / "fairprune.yaml"
    file.write_text(yaml.safe_dump({key: value}), "utf-8")
    try:
        resolve({}, {}, file)
        taken = True
    except FairpruneError:
        taken = False
    assert schema.is_valid({key: value}) == taken


def test_the_list_has_every_setting_below_its_group(told: Told) -> None:
    lines = told("config", "list").splitlines()
    group, below = "", {}
    for line in lines:
        if line.startswith("  "):
            below[line.split()[0]] = group
        elif line:
            group = line
    listed = json.loads(told("config", "list", "--json"))["settings"]
    assert [entry["key"] for entry in listed] == list(FIELDS)
    assert below == {entry["key"]: entry["group"] for entry in listed}
    assert "  sparsity [0.8]: share of prunable parameters that is gone at the end (share below 1)" in lines
    assert "  max_gap [none]: gate: largest gap of the notion (share from 0 to 1, or none)" in lines
    assert "  seed [0]: seed of every random draw (whole number from 0 to 2147483647)" in lines
    assert "  augment [true]: flips and small shifts while training (true or false)" in lines
    assert all("bifp" in line and "lottery" in line for line in lines if line.startswith("  method "))


def test_one_setting_in_full(told: Told) -> None:
    assert told("config", "explain", "--", "--max-gap") == told("config", "explain", "max_gap")
    text = told("config", "explain", "tolerance")
    for part in (
        "tolerance: allowed difference between groups", "share from 0 to 1", "0.02", "--tolerance of prune, compare",
        "FAIRPRUNE_TOLERANCE", "The constraint and its multipliers",
    ):  # fmt: skip
        assert part in text
    assert "--set rho=VALUE" in told("config", "explain", "rho")
    assert json.loads(told("config", "explain", "seed", "--json")) == {
        "key": "seed", "group": "Randomness", "description": "seed of every random draw", "type": "integer",
        "minimum": 0, "maximum": 2**31 - 1, "default": 0, "flag": "--seed",
        "commands": ["prune", "audit", "compare", "train", "export", "demo"], "variable": "FAIRPRUNE_SEED",
    }  # fmt: skip


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(FairpruneError, match=r"did you mean 'tolerance'\?"):
        app(args=["config", "explain", "tolerence"], standalone_mode=False)


def test_help_has_the_text_of_each_setting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    app(args=["prune", "--help-all"], standalone_mode=False)
    shown = " ".join(capsys.readouterr().out.split())
    for key in ("sparsity", "relaxation", "compile", "attr", "max_gap", "seed"):
        assert " ".join(text_of(key).split()) in shown


@pytest.mark.parametrize(("words", "message"), [
    (["--set", "rho"], "is not KEY=VALUE"), (["--set", "roh=1"], "did you mean 'rho'"),
    (["--set", "lr=1", "--lr", "2"], "lr is given twice"), (["--set", "rho=1", "--set", "rho=1"], "rho is given twice"),
    (["--set", "epochs=1", "--epochs", "2"], "epochs is given twice"),
])  # fmt: skip
@pytest.mark.parametrize("command", [["prune", "model.pt"], ["train", "--arch", "resnet10"]], ids=["prune", "train"])
def test_a_setting_is_given_once(command: list[str], words: list[str], message: str) -> None:
    with pytest.raises(FairpruneError, match="--set") as caught:
        app(args=[*command, *words], standalone_mode=False)
    assert message in str(caught.value)


@pytest.mark.parametrize(("words", "where"), [
    (["--set", "multiplier_unit=2"], "--set multiplier_unit: '2' is none of"), (["--tolerance", "2"], "--tolerance: "),
    (["--set", "tolerance=2"], "--set tolerance: "),
])  # fmt: skip
def test_a_message_names_a_setting_as_it_was_given(words: list[str], where: str) -> None:
    with pytest.raises(FairpruneError) as caught:
        app(args=["prune", "model.pt", "--data", "m.yaml", "--attr", "gender", *words], standalone_mode=False)
    assert str(caught.value).startswith(where)
