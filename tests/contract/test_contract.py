"""The contract of every plug-in that the listing gives: nobody has to add a name here, and nobody can leave one out."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairprune_cli.core import plugins
from fairprune_cli.models import architectures
from fairprune_cli.pruning import methods
from tests.contract import contracts

METHODS = [(name, granularity) for name in methods.names() for granularity in methods.get(name).granularities]


@pytest.mark.parametrize("name", methods.names())
def test_methods_score_as_worked_by_hand(name: str) -> None:
    contracts.method_by_hand(name)


@pytest.mark.parametrize(("name", "granularity"), METHODS)
def test_methods_meet_their_target(name: str, granularity: str) -> None:
    contracts.method_meets_its_target(name, granularity)


@pytest.mark.parametrize(("name", "granularity"), METHODS)
@pytest.mark.parametrize("stop_at", [3, 11, 19])  # while the mask moves, about the end of the ramp, after it
def test_methods_continue_to_the_same_bytes(name: str, granularity: str, stop_at: int) -> None:
    contracts.method_continues_to_the_same_bytes(name, granularity, stop_at)


@pytest.mark.parametrize("classes", [2, 3, 4, 5])
@pytest.mark.parametrize("groups", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("name", plugins.NOTION.names())
def test_notions_are_one_figure(name: str, groups: int, classes: int) -> None:
    contracts.notion_is_one_figure(name, classes, groups)


@pytest.mark.parametrize("name", plugins.RELAXATION.names())
def test_relaxations_equal_their_row(name: str) -> None:
    contracts.relaxation_equals_its_row(name)


@pytest.mark.parametrize("name", architectures.names())
def test_architectures_come_back_pruned(name: str, tmp_path: Path) -> None:
    contracts.architecture_comes_back_pruned(name, tmp_path)


@pytest.mark.parametrize("name", plugins.EXPORT_FORMAT.names())
def test_exports_can_be_read_back(name: str, tmp_path: Path) -> None:
    contracts.export_can_be_read_back(name, tmp_path)


@pytest.mark.parametrize("name", plugins.DATASET_FORMAT.names())
def test_data_sets_are_read(name: str, tmp_path: Path) -> None:
    contracts.data_set_is_read(name, tmp_path)


@pytest.mark.parametrize("name", plugins.REPORT_SECTION.names())
def test_sections_are_built(name: str) -> None:
    contracts.section_is_built(name)


@pytest.mark.parametrize("name", plugins.REPORT_WRITER.names())
def test_writers_take_any_report(name: str) -> None:
    contracts.writer_takes_any_report(name)
