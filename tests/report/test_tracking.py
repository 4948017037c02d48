"""Trackers: what they are told, in names they take, and that they can never stop or disturb a run."""

from __future__ import annotations

import builtins
import contextlib
import importlib.util
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fairprune_cli.commands import output
from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report import tracking
from fairprune_cli.report.view import View
from fairprune_cli.run.options import resolve, settled
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
    report["config"]["track"] = {"value": [track], "source": "flag"}
    return report


class Wandb(ModuleType):
    """Records what W&B is told; `signed_in` or not."""

    class errors:
        class Error(Exception):
            pass

    def __init__(self, signed_in: bool) -> None:
        super().__init__("wandb")
        self.signed_in, self.modes = signed_in, []  # type: ignore[var-annotated]
        self.how: dict[str, Any] = {}
        self.history: list[tuple[int, dict[str, float]]] = []
        self.summary: dict[str, Any] = {}
        self.files: list[str] = []
        self.finished = False

    def Settings(self, **how: Any) -> Any:
        return SimpleNamespace(sync_dir="somewhere", **how)

    def init(self, mode: str | None = None, **how: Any) -> Wandb:
        print("wandb: a banner")
        assert sys.stdin.read() == ""
        self.modes.append(mode)
        if not self.signed_in and mode is None and os.environ.get("WANDB_MODE") != "offline":
            raise self.errors.Error("No API key configured")
        self.how, self.settings = how, how["settings"]
        return self

    def log(self, figures: dict[str, float], step: int) -> None:
        self.history.append((step, figures))

    def save(self, path: str, base_path: str, policy: str) -> None:
        assert policy == "now"
        self.files.append(str(Path(path).relative_to(base_path)))

    def finish(self) -> None:
        self.finished = True


@pytest.mark.parametrize(("signed_in", "mode", "tried"), [
    (True, None, [None]), (False, None, [None, "offline"]), (False, "offline", [None]),
])  # fmt: skip
def test_wandb_is_told_and_without_an_account_keeps_the_run_here(
    signed_in: bool, mode: str | None, tried: list[str | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wandb = Wandb(signed_in)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    (tmp_path / "report.json").write_text("{}")
    terminal = Terminal(io.StringIO(), notes := io.StringIO(), {})
    tracking.track(tracked(track="wandb"), tmp_path, terminal)
    assert terminal.warnings == []
    assert wandb.modes == tried
    assert ("wandb sync somewhere" in notes.getvalue()) == (len(tried) == 2)
    assert (wandb.how["project"], wandb.how["dir"]) == ("fairprune", str(tmp_path))
    assert wandb.how["config"]["method"] == "bifp"
    assert (wandb.summary["verdict"], wandb.summary["pruned/accuracy"]) == ("fail", 0.9115)
    assert [step for step, _ in wandb.history] == list(range(1, 21))
    assert (wandb.files, wandb.finished) == (["report.json"], True)


def test_tensorboard_has_every_figure_under_its_own_name(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report = two_chinese_groups()
    report["config"]["track"] = {"value": "tensorboard", "source": "flag"}
    terminal = quiet()
    for _ in range(2):  # the second takes the first one's place
        tracking.track(report, tmp_path, terminal)
    assert terminal.warnings == []
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    tags = read.Tags()["scalars"]
    assert {"pruned/gender/男/accuracy", "pruned/gender/女/accuracy"} <= set(tags)
    assert [event.value for event in read.Scalars("pruned/accuracy")] == [pytest.approx(0.9115)]
    assert [event.step for event in read.Scalars("training/exact_gap/gender")] == list(range(1, 21))


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_the_real_client_takes_a_run(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    report = two_chinese_groups()
    report["config"]["track"] = {"value": [name], "source": "flag"}
    terminal = quiet()
    tracking.track(report, tmp_path, terminal)
    assert terminal.warnings == []
    assert list(
        tmp_path.glob("wandb/offline-run-*/*.wandb" if name == "wandb" else "mlruns/*/*/metrics/pruned/accuracy")
    )


def two_chinese_groups() -> dict[str, Any]:
    def renamed(part: Any) -> Any:
        if isinstance(part, dict):
            return {{"male": "男", "female": "女"}.get(key, key): renamed(value) for key, value in part.items()}
        return [renamed(one) for one in part] if isinstance(part, list) else part

    return renamed(tracked())  # type: ignore[no-any-return]


def test_groups_in_any_script_keep_a_metric_each_in_every_run(client: Client) -> None:
    tracking.track(two_chinese_groups(), None, quiet())
    final = client.metrics[-1][1]
    both = [name for name in final if re.fullmatch(r"pruned/gender/_-[0-9a-f]{6}/accuracy", name)]
    assert len(both) == 2
    assert tracking.accepted("男") in both[0] + both[1]  # the same without the other group
    names = ["a/é", "a/è", "a/<3", "a/below 3", "a/A", "a/a", "a/" + 300 * "x", "a/" + 301 * "x", "a/x*y", "a/x x y"]
    cleaned = tracking.cleaned_names(names)
    assert len({name.casefold() for name in cleaned.values()}) == len(names)
    assert all(TAKEN.match(name) and len(name) <= 250 for name in cleaned.values())
    assert tracking.cleaned_names(reversed(names)) == cleaned
    plain = "pruned/gender/female/accuracy"
    assert tracking.cleaned_names([plain]) == {plain: plain}


def test_several_trackers_are_named_by_comma_and_checked_with_the_settings() -> None:
    def track(*given: str) -> tuple[str, ...]:
        return resolve({"track": list(given)}, {}, None).settings.track

    assert track("none") == ()
    assert track("mlflow,wandb", "mlflow") == ("mlflow", "wandb")
    assert resolve({}, {"FAIRPRUNE_TRACK": "tensorboard, mlflow"}, None).settings.track == ("tensorboard", "mlflow")
    assert resolve({"track": "none"}, {}, None).settings.track == ()  # as older run folders have it
    with pytest.raises(FairpruneError, match="did you mean 'mlflow'"):
        track("mlfow")
    with pytest.raises(FairpruneError, match="contradict"):
        track("none,mlflow")


@pytest.mark.parametrize("name", plugins.TRACKER.names())
def test_a_tracker_that_is_not_installed_is_refused_before_the_work(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted, *_: None if wanted == name else real(wanted))
    with pytest.raises(FairpruneError, match=f"--track {name}: {name} is not installed") as refused:
        settled({"track": [name]}, None)
    assert refused.value.code == 2
    assert f"pip install {name}" in str(refused.value)


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
