"""The attempts of benchmarks/false_yes.py are all listed, one by one, and one that passes wrongly is seen."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tests.support.commands import Ran

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("false_yes")
    for kind in module.KINDS:
        importlib.import_module(f"_false_yes.{kind}")
    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] in ("false_yes", "_false_yes")]:
        del sys.modules[name]


def test_there_are_many_and_none_has_the_title_of_another(script: object) -> None:
    attempts = script.ATTEMPTS  # type: ignore[attr-defined]
    assert len(attempts) >= 60
    assert {one.kind for one in attempts} == set(script.KINDS)  # type: ignore[attr-defined]
    assert len({(one.kind, one.title) for one in attempts}) == len(attempts)
    assert all(one.codes for one in attempts)
    # A yes is right only where something is told beside it.
    assert [one.title for one in attempts if 0 in one.codes and not one.says] == []


@pytest.mark.parametrize(
    ("ran", "right"),
    [
        (Ran(2, "", "error: x"), True), (Ran(0, "verdict: pass x", ""), False), (Ran(2, "", "Traceback x"), False),
        (Ran(2, "", "error: y"), False),
    ],
)  # fmt: skip
def test_what_passes_is_seen(script: object, ran: Ran, right: bool, tmp_path: Path) -> None:
    attempt = script.Attempt("files", "t", (2,), "x", lambda scene: ran)  # type: ignore[attr-defined]
    came = script.tried(attempt, None, tmp_path / "a")  # type: ignore[attr-defined]
    assert came.right is right
    assert ("WRONG" in script.table([came])) is not right  # type: ignore[attr-defined]
