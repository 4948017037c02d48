"""Annotations and the step summary inside a GitHub Actions job."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report import github_actions as github
from fairprune_cli.report.writers.github import LIMIT
from tests.support import reports as fixture


def screen() -> tuple[Terminal, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    return Terminal(out, err, {}), out, err


def test_gates_are_annotated_on_stderr_inside_a_job_only() -> None:
    terminal, out, err = screen()
    github.annotate(fixture.full(), {}, terminal)
    assert err.getvalue() == ""
    github.annotate(fixture.full(), {"GITHUB_ACTIONS": "true"}, terminal)
    lines = err.getvalue().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning", "::warning", "::warning"]
    assert out.getvalue() == ""


def test_hostile_names_stay_on_one_line() -> None:
    terminal, _, err = screen()
    github.annotate(fixture.hostile(), {"GITHUB_ACTIONS": "true"}, terminal)
    for line in err.getvalue().splitlines():
        assert line.startswith(("::error title=", "::warning title="))
        properties = line.split("::", 2)[1]
        assert ":" not in properties
        assert "\r" not in line


def test_the_summary_is_appended_and_annotations_are_the_result(tmp_path: Path) -> None:
    terminal, out, err = screen()
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    assert not github.publish(fixture.full(), {}, terminal)
    assert github.publish(fixture.full(), {"GITHUB_STEP_SUMMARY": str(path)}, terminal)
    text = path.read_text()
    assert text.startswith("before\n## resnet10")
    assert "Fail: 1 of 5 gates failed" in text
    assert out.getvalue().startswith("::error")
    assert "appended to the step summary" in err.getvalue()


@pytest.mark.parametrize("there", [LIMIT - 10, LIMIT - 2000, LIMIT + 10])
def test_a_full_summary_is_not_pushed_over_its_limit(there: int, tmp_path: Path) -> None:
    terminal, _, _ = screen()
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * there)
    github.publish(fixture.full(), {"GITHUB_STEP_SUMMARY": str(path)}, terminal)
    assert path.stat().st_size <= max(LIMIT, there)


def test_a_summary_that_cannot_be_written_is_a_run_time_error(tmp_path: Path) -> None:
    terminal, _, _ = screen()
    with pytest.raises(FairpruneError) as caught:
        github.publish(fixture.full(), {"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "such" / "file")}, terminal)
    assert caught.value.code == ExitCode.RUNTIME
