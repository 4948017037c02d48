"""Settings: layers, sources, ranges, and all errors at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.run.settings import FIELDS, Settings, resolve

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
    assert "tolerance: 2.0 must be <= 1.0" in text


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
