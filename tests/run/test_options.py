"""Settings: layers, sources, ranges, all errors at once, and groups in which everything is written once."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.settings import fields_of, merge, setting
from fairprune_cli.pruning.options import TargetOptions
from fairprune_cli.run.options import FIELDS, Settings, resolve

PACKAGE = Path(__file__).parents[2] / "fairprune_cli"
SAMPLES = sorted((Path(__file__).parents[2] / "sample_configs").glob("*.yaml"))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "seed: 1\nepochs: 1\nlr: 0.5\n")
    resolved = resolve({"seed": "3"}, {"FAIRPRUNE_SEED": "2", "FAIRPRUNE_EPOCHS": "2"}, file)
    settings = resolved.settings
    assert (settings.seed, settings.epochs, settings.lr, settings.momentum) == (3, 2, 0.5, 0.9)
    assert resolved.sources["seed"] == "flag"
    assert resolved.sources["epochs"] == "environment"
    assert resolved.sources["lr"] == str(file)
    assert resolved.sources["momentum"] == "default"


def test_all_errors_at_once_with_the_nearest_key(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "sparsitty: 0.5\nepochs: many\ngranularity: chanel\ntolerance: 2\n")
    with pytest.raises(FairpruneError) as error:
        resolve({}, {}, file)
    text = str(error.value)
    assert "did you mean 'sparsity'?" in text
    assert "epochs: 'many' is not a whole number" in text
    assert "did you mean 'channel'?" in text
    assert "tolerance: a share from 0 to 1; 2 % is written 0.02" in text


def test_unknown_variables_are_errors_but_the_cache_is_none(tmp_path: Path) -> None:
    resolve({}, {"FAIRPRUNE_CACHE": str(tmp_path), "FAIRPRUNE_DATA_ROOT": "/x", "FAIRPRUNE_DEBUG": "1"}, None)
    with pytest.raises(FairpruneError, match="unknown key 'epoch'"):
        resolve({}, {"FAIRPRUNE_EPOCH": "3"}, None)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00", "1: 2\n"])
def test_files_that_are_no_mapping_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FairpruneError):
        resolve({}, {}, write(tmp_path / "c.yaml", text))


def test_empty_file_is_no_setting(tmp_path: Path) -> None:
    assert resolve({}, {}, write(tmp_path / "c.yaml", "# nothing\n")).settings == Settings()


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1.0", ".x", True, [0.5], None])
def test_sparsity_takes_only_what_makes_sense(tmp_path: Path, value: object) -> None:
    file = write(tmp_path / "c.yaml", yaml.safe_dump({"sparsity": value}))
    with pytest.raises(FairpruneError, match="sparsity"):
        resolve({}, {}, file)


def test_attributes_from_flags_environment_and_file(tmp_path: Path) -> None:
    assert resolve({"attr": ["a", "b*c"]}, {}, None).settings.attr == ("a", "b*c")
    assert resolve({}, {"FAIRPRUNE_ATTR": "a, b"}, None).settings.attr == ("a", "b")
    assert resolve({}, {}, write(tmp_path / "c.yaml", "attr: gender\n")).settings.attr == ("gender",)


def test_optional_numbers_may_be_null(tmp_path: Path) -> None:
    assert resolve({}, {}, write(tmp_path / "c.yaml", "max_gap: null\n")).settings.max_gap is None


def test_document_names_value_and_source_of_every_key() -> None:
    document = resolve({"attr": ("gender",)}, {}, None).document()
    assert set(document) == set(FIELDS)
    assert document["attr"] == {"value": ["gender"], "source": "flag"}
    assert yaml.safe_load(yaml.safe_dump(document)) == document


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().seed = 3  # type: ignore[misc]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_sample_configs_are_valid(path: Path) -> None:
    assert resolve({}, {}, path).settings != Settings()


@given(st.dictionaries(st.sampled_from(sorted(FIELDS)), st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.text(max_size=4), max_size=2)
)))  # fmt: skip
def test_any_mapping_gives_settings_or_one_clear_error(values: dict[str, object]) -> None:
    try:
        settings = resolve(values, {}, None).settings
    except FairpruneError:
        return
    assert 0 <= settings.sparsity < 1


def groups() -> list[type]:
    return [part for part in Settings.__mro__ if part not in (Settings, object)]


def test_every_key_is_declared_by_one_group() -> None:
    declared = Counter(key for group in groups() for key in vars(group).get("__annotations__", {}))
    assert set(declared) == set(FIELDS)
    assert set(declared.values()) == {1}
    assert not vars(Settings).get("__annotations__")  # the union declares nothing of its own


def test_a_union_is_each_of_its_groups_with_the_same_defaults() -> None:
    for group in groups():
        assert isinstance(Settings(), group)
        assert {f.name: f.default for f in dataclasses.fields(group)}.items() <= {
            key: field.default for key, field in FIELDS.items()
        }.items()


def test_settings_are_listed_group_after_group_as_they_are_declared() -> None:
    @dataclasses.dataclass(frozen=True)
    class Shared:
        last: int = setting(1, "of both")

    @dataclasses.dataclass(frozen=True)
    class First(Shared):
        b: int = setting(1, "one")
        a: int = setting(1, "another")

    @dataclasses.dataclass(frozen=True)
    class Second(Shared):
        c: int = setting(1, "a third")

    @dataclasses.dataclass(frozen=True)
    class Both(First, Second):
        pass

    assert list(fields_of(Both)) == ["b", "a", "c", "last"]
    assert list(FIELDS)[:3] == ["data", "attr", "arch"]


def literal_defaults(tree: ast.Module) -> list[tuple[str, object, int]]:
    """Name, value and line of every parameter and class attribute whose default is written out."""
    found: list[tuple[str, ast.expr | None, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            plain = [*node.args.posonlyargs, *node.args.args]
            pairs = [*zip(plain[::-1], node.args.defaults[::-1], strict=False),
                     *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]  # fmt: skip
            found += [(argument.arg, default, argument.lineno) for argument, default in pairs]
        elif isinstance(node, ast.ClassDef):
            found += [
                (item.target.id, item.value, item.lineno) for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]  # fmt: skip
    return [(name, value.value, line) for name, value, line in found if isinstance(value, ast.Constant)]


def test_literal_defaults_are_found() -> None:
    tree = ast.parse("class A:\n    rho: float = 0.35\ndef f(a, seed=0, *, ema=0.9, b): ...\n")
    assert {(name, value) for name, value, _ in literal_defaults(tree)} == {("rho", 0.35), ("seed", 0), ("ema", 0.9)}


def test_no_default_is_written_beside_its_group_again() -> None:
    again = [
        f"{path.relative_to(PACKAGE)}:{line}: {name} = {value!r}"
        for folder in ("fairness", "pruning", "training", "audit", "run")
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for name, value, line in literal_defaults(ast.parse(path.read_text("utf-8")))
        if name in FIELDS and value is not None and value == FIELDS[name].default
    ]
    assert not again


def test_no_help_text_is_written_twice() -> None:
    declaring = {Path(sys.modules[group.__module__].__file__ or "") for group in groups()}
    texts = Counter(
        node.value
        for path in [*declaring, *(PACKAGE / "commands").glob("*.py")]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    assert {key: texts[field.metadata["text"]] for key, field in FIELDS.items()} == dict.fromkeys(FIELDS, 1)


def test_two_of_four_has_its_own_sparsity(tmp_path: Path) -> None:
    assert resolve({"granularity": "2:4"}, {}, None).settings.sparsity == 0.5
    with pytest.raises(FairpruneError, match=r"--sparsity: 0\.8 cannot be had by 2:4"):
        resolve({"granularity": "2:4", "sparsity": "0.8"}, {}, None)
    # The rule is the group's own: it holds for the group alone as for the union.
    assert merge(TargetOptions, {}, {"FAIRPRUNE_GRANULARITY": "2:4"}, None).settings.sparsity == 0.5


def test_groups_load_no_torch() -> None:
    modules = sorted({group.__module__ for group in [Settings, *groups()]})
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_gate_is_not_lost_by_leaving_its_bound_empty(tmp_path: Path) -> None:
    file = write(tmp_path / "c.yaml", "max_gap: 0.1\n")
    assert resolve({}, {"FAIRPRUNE_SEED": "3"}, file).settings.max_gap == 0.1
    for name in ("max_gap", "max_degradation", "min_accuracy", "policy"):
        with pytest.raises(FairpruneError, match=f"FAIRPRUNE_{name.upper()}: is empty"):
            resolve({}, {f"FAIRPRUNE_{name.upper()}": ""}, file)
        with pytest.raises(FairpruneError, match=f"{name}: is empty"):
            resolve({}, {}, write(tmp_path / "blank.yaml", f"{name}:\nseed: 1\n"))
        assert getattr(resolve({}, {}, write(tmp_path / "null.yaml", f"{name}: null\n")).settings, name) is None


def test_two_spellings_of_a_key_are_one_setting(tmp_path: Path) -> None:
    with pytest.raises(FairpruneError, match="'max_gap' and 'max-gap' are one setting"):
        resolve({}, {}, write(tmp_path / "c.yaml", "max_gap: 0.1\nmax-gap: 0.9\n"))
