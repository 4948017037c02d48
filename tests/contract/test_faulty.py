"""The contract is red for plug-ins that break it: each is made up and put into the folder of its kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fairprune_cli.audit import judging
from fairprune_cli.core import plugins
from tests.contract import cases, contracts
from tests.support.plugins import plugged_in

WRITES = """
    '''A made-up format.'''
    import torch
    SUFFIX, TOLERANCE = ".bin", 1e-6

    def write(job, path):
        torch.save(job.model.state_dict(), path)
"""
FORMATS = {
    "only raises": "raise NotImplementedError",
    "gives the source": "return job.reference",
    "gives a copy of the source": "import copy; return copy.deepcopy(job.reference)",
    "gives other weights": "return lambda images: 2 * job.reference(images)",
}


@pytest.mark.parametrize("what", FORMATS)
def test_a_format_that_cannot_be_read_back(what: str, tmp_path: Path) -> None:
    text = f"{WRITES}\n    def reload(job, path):\n        {FORMATS[what]}\n"
    with plugged(plugins.EXPORT_FORMAT, tmp_path, text), pytest.raises(AssertionError):
        contracts.export_can_be_read_back("made-up", tmp_path)


def test_a_format_that_can(tmp_path: Path) -> None:
    text = (
        WRITES
        + """
    def reload(job, path):
        from copy import deepcopy
        read = deepcopy(job.reference)
        read.load_state_dict(torch.load(path))
        return read
    """
    )
    with plugged(plugins.EXPORT_FORMAT, tmp_path, text):
        contracts.export_can_be_read_back("made-up", tmp_path)


REMEMBERS = """
    '''A made-up format.'''
    from copy import deepcopy
    SUFFIX, TOLERANCE, KNOWN = ".bin", 1e-6, {}

    def write(job, path):
        KNOWN[str(path)] = deepcopy(job.reference)
        path.write_bytes(b"x" * SIZE)

    def reload(job, path):
        return KNOWN[str(path)]
"""


@pytest.mark.parametrize("size", [1, 10_000_000])
def test_a_format_that_remembers_instead_of_writing(size: int, tmp_path: Path) -> None:
    text = REMEMBERS.replace("SIZE", str(size))
    with plugged(plugins.EXPORT_FORMAT, tmp_path, text), pytest.raises(AssertionError):
        contracts.export_can_be_read_back("made-up", tmp_path)


@pytest.mark.parametrize(("kappa", "delta"), [("3 * a + 5", "0 * a"), ("a", "a.clamp(max=0.0)"), ("a", "(-a).exp()")])
def test_a_relaxation_whose_row_is_as_wrong_as_itself(
    kappa: str, delta: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"def kappa(a):\n    return {kappa}\n\ndef delta(a):\n    return {delta}\n"
    row = tuple(lambda a, of=of: float(eval(of, {"a": torch.tensor(a)})) for of in (kappa, delta))
    given(monkeypatch, RELAXATIONS={"made-up": row})
    with plugged(plugins.RELAXATION, tmp_path, text), pytest.raises(AssertionError):
        contracts.relaxation_equals_its_row("made-up")


NOTION = "from tests.support.notions import alarms_of_the_first as build\n"
ALARMS = contracts.Rates(lambda classes: [(lambda y: y != 0, lambda y, p: p == 0)])


def test_a_notion_whose_gate_judges_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, NOTIONS={"made-up": ALARMS})
    with plugged(plugins.NOTION, tmp_path, NOTION):
        contracts.notion_is_one_figure("made-up", 3, 3)
        gap: Callable = judging._gap
        monkeypatch.setattr(
            judging, "_gap", lambda figures, attribute, _, hidden: gap(figures, attribute, "accuracy", hidden)
        )
        with pytest.raises(AssertionError, match="the gate judges something else"):
            contracts.notion_is_one_figure("made-up", 3, 3)


def test_a_notion_that_counts_something_else_than_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, NOTIONS={"made-up": contracts.Rates(lambda k: [(lambda y: True, lambda y, p: p == 0)])})
    with plugged(plugins.NOTION, tmp_path, NOTION), pytest.raises(AssertionError):
        contracts.notion_is_one_figure("made-up", 3, 3)


@pytest.mark.parametrize(
    ("kind", "text", "contract", "missing"),
    [
        (plugins.METHOD, "from fairprune_cli.pruning.methods.magnitude import Method\n",
         contracts.method_by_hand, "no case worked by hand"),
        (plugins.NOTION, NOTION, lambda name: contracts.notion_is_one_figure(name, 2, 2), "nowhere said"),
        (plugins.RELAXATION, "from fairprune_cli.fairness.relaxations.hinge import kappa\n",
         contracts.relaxation_equals_its_row, "no row of values"),
        (plugins.DATASET_FORMAT, "from fairprune_cli.data.formats.lfw import read, recognise, suggest\n",
         lambda name: contracts.data_set_is_read(name, Path()), "no small data set"),
        (plugins.REPORT_SECTION, "ORDER = 5\ndef build(view):\n    return None\n",
         contracts.section_is_built, "no report makes the section"),
    ],
    ids=lambda value: value.word if isinstance(value, plugins.Kind) else "",
)  # fmt: skip
def test_a_plug_in_without_its_case(
    kind: plugins.Kind, text: str, contract: Callable[[str], None], missing: str, tmp_path: Path
) -> None:
    with plugged(kind, tmp_path, text):
        assert "made-up" in kind.names()
        with pytest.raises(AssertionError, match=missing):
            contract("made-up")


def test_a_method_that_is_not_what_was_worked_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, METHODS={"made-up": cases.gathered("METHODS")["snip"]})
    text = "from fairprune_cli.pruning.methods.magnitude import Method\n"
    with plugged(plugins.METHOD, tmp_path, text), pytest.raises(AssertionError):
        contracts.method_by_hand("made-up")


def test_a_method_that_forgets_its_state(tmp_path: Path) -> None:
    text = """
    from fairprune_cli.pruning.methods import snip

    class Method(snip.Method):
        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

        @classmethod
        def gradual(cls, options):
            return super(snip.Method, cls).gradual(options)
    """
    with plugged(plugins.METHOD, tmp_path, text), pytest.raises(AssertionError):
        contracts.method_continues_to_the_same_bytes("made-up", "weight", 11)


def test_a_family_that_another_is_taken_for(tmp_path: Path) -> None:
    text = "from torchvision.models import resnet18\nARCHITECTURES = {'made-up': lambda k: resnet18(num_classes=k)}\n"
    with plugged(plugins.ARCHITECTURE, tmp_path, text), pytest.raises(Exception, match="fit several architectures"):
        contracts.architecture_comes_back_pruned("made-up", tmp_path)


def plugged(kind: plugins.Kind, folder: Path, text: str) -> Any:
    return plugged_in(kind, folder / "folder", made_up=text)


def given(monkeypatch: pytest.MonkeyPatch, **tables: dict[str, Any]) -> None:
    """Cases beside those of the folder."""
    gathered = cases.gathered
    monkeypatch.setattr(contracts, "gathered", lambda table: gathered(table) | tables.get(table, {}))
