"""Runs that are killed, or that the machine gives no more room: nothing is lost, and what went wrong is said."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.e2e.conftest import Work
from tests.processes import Started, start

PRUNE = (
    "prune", "model.pt", "--sparsity", "0.9", "--attr", "gender", "--granularity", "weight", "--epochs", "2",
    "--batch-size", "64", "--set", "save_minutes=0",
)  # fmt: skip


def begin(work: Work, tmp_path: Path, *arguments: str, **more: Any) -> Started:
    return start(*arguments, cwd=work.folder, log=tmp_path / f"log-{len(list(tmp_path.iterdir()))}", **more)


def kill(running: Started, when: Callable[[], bool]) -> None:
    assert running.wait_until(when), running.err
    running.send(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def stopped(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed after its second epoch began."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    running = start(*PRUNE, "--out", str(out), cwd=work.folder, log=out.parent / "log")
    kill(running, lambda: (out / "events.jsonl").exists() and (out / "state" / "state.pt").exists())
    return out


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(work: Work, weight_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    state = out / "state"
    kill(begin(work, tmp_path, *PRUNE, "--out", str(out)), (out / "config.yaml").exists)  # before any state
    again = ("prune", "--resume", str(out))
    kill(begin(work, tmp_path, *again), lambda: (out / "events.jsonl").exists() and any(state.glob(".*.tmp")))
    kill(begin(work, tmp_path, *again), (out / "model.safetensors").exists)  # trained, not audited
    last = begin(work, tmp_path, *again)
    assert last.wait() == 0, last.err
    assert (out / "model.safetensors").read_bytes() == (weight_run / "model.safetensors").read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in weight_run.iterdir()}
    epochs = [json.loads(line)["epoch"] for line in (out / "events.jsonl").read_text().splitlines()]
    assert epochs == [1, 2]


def test_the_same_seed_gives_the_same_bytes(work: Work, weight_run: Path, tmp_path: Path) -> None:
    """Model and report, but for what is measured: times, memory, latencies."""
    arguments = [argument for argument in PRUNE if argument not in ("--set", "save_minutes=0")]
    out = tmp_path / "other-run"
    ran = begin(work, tmp_path, *arguments, "--out", str(out))
    assert ran.wait() == 0, ran.err
    assert (out / "model.safetensors").read_bytes() == (weight_run / "model.safetensors").read_bytes()
    assert report_without_measurements(out) == report_without_measurements(weight_run)


def report_without_measurements(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "report.json").read_text())
    for block, keys in (("cost", ("seconds", "peak_bytes")), ("provenance", ("started", "finished", "command"))):
        for key in keys:
            del document[block][key]
    for models in document.pop("speed").values():
        assert models
    for epoch in document["training"]:
        del epoch["images_per_second"]
    return document


def changed_image(folder: Path) -> None:
    image = next(path for path in sorted(folder.rglob("*.png")))
    shutil.copy(sorted(folder.rglob("*.png"))[1], image)


def changed_table(folder: Path) -> None:
    table = next(folder.glob("*.csv"))
    table.write_text(table.read_text() + "\n")


def changed_model(folder: Path) -> None:
    content = torch.load(folder / "model.pt", weights_only=True)
    content["state_dict"]["fc.bias"][0] += 1
    torch.save(content, folder / "model.pt")


def changed_setting(folder: Path) -> None:
    path = folder / "run" / "config.yaml"
    document = yaml.safe_load(path.read_text())
    document["settings"]["rho"]["value"] = 0.5
    path.write_text(yaml.safe_dump(document))


@pytest.mark.parametrize(
    ("change", "named"),
    [(changed_image, "the images"), (changed_table, "manifest"), (changed_model, "model"), (changed_setting, "--rho")],
)
def test_what_changed_under_a_run_is_named(
    change: Callable[[Path], None], named: str, work: Work, stopped: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "faces"
    shutil.copytree(work.folder, moved, ignore=shutil.ignore_patterns("runs"))
    shutil.copytree(stopped, moved / "run")
    path = moved / "run" / "config.yaml"
    path.write_text(path.read_text().replace(str(work.folder.resolve()), str(moved)))
    change(moved)
    before = (moved / "run" / "state" / "state.pt").read_bytes()
    ran = start("prune", "--resume", "run", cwd=moved, log=tmp_path / "log")
    assert ran.wait() == 2, ran.err
    assert "changed since" in ran.err
    assert named in ran.err
    assert (moved / "run" / "state" / "state.pt").read_bytes() == before


def test_a_full_disk_leaves_the_former_state(work: Work, stopped: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    before = (out / "state" / "state.pt").read_bytes()
    ran = begin(work, tmp_path, "prune", "--resume", str(out), before=full_disk)
    assert ran.wait() == 3, ran.err
    assert ran.err.count("error:") == 1
    assert "cannot write" in ran.err
    assert "internal" not in ran.err
    assert (out / "state" / "state.pt").read_bytes() == before
    assert not list((out / "state").glob(".*.tmp"))


def full_disk() -> None:
    """From the first training step on, no file of this process gets larger than half a state."""
    import resource

    from fairprune_cli.run_folder import RunFolder

    def full(self: RunFolder, epochs: int) -> None:
        half = self.state.stat().st_size // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (half, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    RunFolder.keep_events = full  # type: ignore[method-assign]


def test_too_little_memory_leaves_the_former_state(work: Work, stopped: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    before = (out / "state" / "state.pt").read_bytes()
    ran = begin(work, tmp_path, "prune", "--resume", str(out), before=no_more_memory)
    assert ran.wait() == 3, ran.err
    assert "error: out of memory" in ran.err
    assert "internal" not in ran.err
    assert (out / "state" / "state.pt").read_bytes() == before


def no_more_memory() -> None:
    """From the first training step on, this process gets no more memory."""
    import resource

    from fairprune_cli.training import Trainer

    def full(self: Trainer) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.getrlimit(resource.RLIMIT_AS)[1]))
        torch.zeros(1 << 28)

    Trainer._one_step = full  # type: ignore[method-assign]


def test_a_damaged_state_is_named(stopped: Path, work: Work, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    state = out / "state" / "state.pt"
    state.write_bytes(state.read_bytes()[:-1000])
    ran = begin(work, tmp_path, "prune", "--resume", str(out))
    assert ran.wait() == 2, ran.err
    assert "state" in ran.err
    assert "internal" not in ran.err
