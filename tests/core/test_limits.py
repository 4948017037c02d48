"""One table of limits, held before the work, raised by one option."""

from __future__ import annotations

import pytest

from fairprune_cli.core import limits
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.run.options import resolve


def test_what_is_within_the_limit_passes_and_what_is_above_names_both_figures_and_the_option() -> None:
    limits.refuse_above(limits.DEFAULTS["yaml_depth"], "yaml_depth", "a.yaml")
    with pytest.raises(FairpruneError) as caught:
        limits.refuse_above(1_234_567_890, "yaml_values", "a.yaml", "the list")
    assert caught.value.code == ExitCode.BAD_INPUT
    assert str(caught.value).startswith("a.yaml: the list has 1,234,567,890 yaml values; at most 100,000 are read")
    assert "FAIRPRUNE_LIMITS=yaml_values=1234567890" in caught.value.hint


def test_the_option_raises_one_limit_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", "yaml_depth=60, shards=7")
    assert (limits.limit("yaml_depth"), limits.limit("shards")) == (60, 7)
    assert limits.limit("yaml_values") == limits.DEFAULTS["yaml_values"]
    limits.refuse_above(60, "yaml_depth")


@pytest.mark.parametrize(
    ("text", "said"),
    [("yaml_dept=6", "did you mean 'yaml_depth'"), ("yaml_depth", "as in yaml_depth=40"), ("shards=-1", "no whole")],
)
def test_an_option_that_says_nothing_sound_is_refused(text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRPRUNE_LIMITS", text)
    with pytest.raises(FairpruneError) as caught:
        limits.limit("yaml_depth")
    assert said in str(caught.value)


def test_a_number_too_long_to_be_written_is_told_by_its_size() -> None:
    with pytest.raises(FairpruneError, match=r"more than 10\^24082[0-9]"):
        limits.refuse_above(1 << 800_000, "yaml_values")


def test_the_option_is_no_setting() -> None:
    resolve({}, {"FAIRPRUNE_LIMITS": "yaml_depth=60"}, None)
