"""MLflow as a tracker: what it is told, in names it takes, and that it can never stop or disturb a run."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fairprune_cli.commands import output
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report import mlflow as tracking
from fairprune_cli.report.view import View
from tests.support import reports as fixture

TAKEN = re.compile(r"^[/\w.\- ]+$", re.ASCII)  # what MLflow's own check allows


class Client(ModuleType):
    """Records calls, and refuses what MLflow would refuse."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.params: dict[str, str] = {}
        self.metrics: list[tuple[int | None, dict[str, float]]] = []
        self.tags: dict[str, str] = {}
        self.files: list[str] = []
        self.experiment = ""

    def set_experiment(self, name: str) -> None:
        self.experiment = name

    @contextlib.contextmanager
    def start_run(self, run_name: str) -> Iterator[None]:
        print("View run at: somewhere")  # as the client does
        assert sys.stdin.read() == ""  # whoever asks gets no answer, and does not wait for one
        yield

    def log_params(self, params: dict[str, str]) -> None:
        assert len(params) <= 100
        for name, value in params.items():
            assert TAKEN.match(name)
            assert len(value) <= 500
        self.params |= params

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            assert TAKEN.match(name), name
            assert ".." not in name.split("/")
            assert isinstance(value, float)
        self.metrics.append((step, metrics))

    def set_tags(self, tags: dict[str, str]) -> None:
        self.tags |= tags

    def log_artifact(self, path: str) -> None:
        self.files.append(Path(path).name)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    made = Client()
    monkeypatch.setitem(sys.modules, "mlflow", made)
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    return made


def tracked(make: Any = fixture.full, track: str = "mlflow") -> dict[str, Any]:
    report: dict[str, Any] = make()
    report["config"]["track"] = {"value": track, "source": "flag"}
    return report


def quiet() -> Terminal:
    return Terminal(io.StringIO(), io.StringIO(), {})


def test_a_run_is_told_with_its_settings_figures_epochs_and_files(client: Client, tmp_path: Path) -> None:
    for name in ("report.json", "report.html", "other.txt"):
        (tmp_path / name).write_text("x")
    terminal = quiet()
    tracking.track(tracked(), tmp_path, terminal)
    assert terminal.warnings == []
    assert client.experiment == "fairprune"
    assert client.params["method"] == "bifp"
    assert client.tags["fairprune.verdict"] == "fail"
    assert client.files == ["report.json", "report.html"]
    steps = [step for step, _ in client.metrics if step]
    assert steps == list(range(1, 21))
    final = client.metrics[-1][1]
    assert final["pruned/accuracy"] == 0.9115
    assert final["pruned/gender x age/female x 60-120/accuracy"] == 0.841
    assert "pruned/gender x age/odds" not in final  # undefined is left out, not zero
    assert client.metrics[0][1]["training/exact_gap/gender"] > 0


def test_names_a_person_can_choose_never_break_it(client: Client) -> None:
    terminal = quiet()
    tracking.track(tracked(fixture.hostile), None, terminal)
    assert terminal.warnings == []
    assert len(client.metrics[-1][1]) > 20
    assert tracking.accepted("<30") != tracking.accepted(">30")


def test_its_chatter_leaves_stdout_alone(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdin
    tracking.track(tracked(), None, quiet())
    out, err = capsys.readouterr()
    assert out == ""
    assert "View run" in err
    assert sys.stdin is before


@pytest.mark.parametrize("error", [ConnectionError("no route"), SystemError("bad"), ValueError("name")])
def test_a_tracker_that_fails_is_a_warning(client: Client, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(client, "log_params", fail)
    terminal = quiet()
    tracking.track(tracked(), None, terminal)
    assert [w["code"] for w in terminal.warnings] == ["track"]
    assert str(error) in terminal.warnings[0]["text"]


def test_without_mlflow_there_is_a_hint_and_without_the_setting_no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name == "mlflow":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    terminal = quiet()
    tracking.track(tracked(track="none"), None, terminal)
    assert terminal.warnings == []
    tracking.track(tracked(), None, terminal)
    assert "pip install mlflow" in terminal.warnings[0]["text"]


def test_metrics_are_those_of_the_report() -> None:
    found = tracking.metrics_of(View(fixture.full()))
    assert found["sparsity/achieved"] == 0.8012
    assert found["pruned/age/gap"] == pytest.approx(0.934 - 0.861)
    assert all(isinstance(value, float) for value in found.values())


def test_of_several_processes_the_first_one_logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[str] = []
    monkeypatch.setattr(tracking, "track", lambda *_: told.append(os.environ["RANK"]))
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        output.tell({"gates": []}, tmp_path, Terminal(quiet=True))
    assert told == ["0"]
