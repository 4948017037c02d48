"""Runs that are killed, or that the machine gives no more room: nothing is lost, and what went wrong is said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fairprune_cli.core.locks import written_alone
from tests.support.commands import Work, fairprune
from tests.support.processes import Started, start

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


def test_the_same_seed_gives_the_same_bytes_wherever_it_is_run(work: Work, weight_run: Path, tmp_path: Path) -> None:
    """Model and report, but for what is measured: times, memory, latencies.

    Neither the folder nor the cache, the language, the time zone or the hashes of Python have a say.
    """
    arguments = [argument for argument in PRUNE if argument not in ("--set", "save_minutes=0")]
    out = tmp_path / "other-run"
    env = {
        "FAIRPRUNE_CACHE": str(tmp_path / "cache"), "LC_ALL": "tr_TR.UTF-8", "TZ": "Asia/Kathmandu",
        "PYTHONHASHSEED": "7",
    }  # fmt: skip
    ran = fairprune(*arguments, "--out", str(out), cwd=work.folder, env=env, fresh=True)
    assert ran.code == 0, ran.err
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


def test_a_run_is_written_by_one_process_alone(work: Work, copied: Path, tmp_path: Path) -> None:
    """A run that another process holds is neither continued, nor begun again, nor replaced by a report."""
    with written_alone(copied, folder=True):
        for arguments in (
            ("prune", "--resume", str(copied)), (*PRUNE, "--out", str(copied), "--force"),
            (*PRUNE, "--out", str(copied)), ("audit", "model.pt", "--attr", "gender", "--out", str(copied), "--force"),
        ):  # fmt: skip
            ran = begin(work, tmp_path, *arguments)
            assert ran.wait() == 2, ran.err
            assert f"is being written by process {os.getpid()} on " in ran.err
    assert (copied / "state" / "state.pt").exists()


def test_what_is_written_into_a_file_is_written_by_one_process_alone(work: Work, tmp_path: Path) -> None:
    out = tmp_path / "file"
    with written_alone(out):
        for arguments in (
            ("export", "model.pt", "--to", "safetensors-dense", "--out", str(out)),
            ("train", "--arch", "resnet10-w16", "--out", str(out)), ("data", "sample", "--out", str(out)),
        ):  # fmt: skip
            ran = begin(work, tmp_path, *arguments)
            assert ran.wait() == 2, ran.err
            assert f"is being written by process {os.getpid()} on " in ran.err
    assert not out.exists()


def test_a_run_that_began_with_relative_paths_is_continued_from_another_directory(
    work: Work, weight_run: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "faces"
    shutil.copytree(work.folder, moved, ignore=shutil.ignore_patterns("runs"))
    (moved / "policy.yaml").write_text("rules:\n  - max_gap: 0.99\n")
    running = start(
        *PRUNE, "--data", "manifest.yaml", "--policy", "policy.yaml", "--out", "run", cwd=moved, log=tmp_path / "log"
    )
    kill(running, (moved / "run" / "state" / "state.pt").exists)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = start("prune", "--resume", "../faces/run", cwd=elsewhere, log=tmp_path / "log-2")
    assert again.wait() == 0, again.err
    done = moved / "run"
    assert (done / "model.safetensors").read_bytes() == (weight_run / "model.safetensors").read_bytes()
    assert json.loads((done / "report.json").read_text())["verdict"] == "pass"
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]  # no lock is left


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


def changed_version(folder: Path) -> None:
    change_state(folder / "run", lambda state: state["origin"].update(version="0.1.0"))


def changed_form(folder: Path) -> None:
    change_state(folder / "run", lambda state: state["trainer"].pop("constraint"))


def no_step(folder: Path) -> None:
    change_state(folder / "run", lambda state: state["trainer"].update(done=None))


def small_momentum(folder: Path) -> None:
    def change(state: dict[str, Any]) -> None:
        state["trainer"]["optimizer"]["state"][0]["momentum_buffer"] = torch.zeros(0)

    change_state(folder / "run", change)


def no_origin(folder: Path) -> None:
    (folder / "run" / "state" / "former.pt").unlink(missing_ok=True)  # else the run would go on from there
    change_state(folder / "run", lambda state: state.update(origin=[]))


def junk_in_the_log(folder: Path) -> None:
    path = folder / "run" / "events.jsonl"
    path.write_text("[]\n" + path.read_text())


def lost_image(folder: Path) -> None:
    next(path for path in sorted(folder.rglob("*.png"))).unlink()


def change_state(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = run / "state" / "state.pt"
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed_image, "changed since the state was saved: the images"), (changed_table, "the manifest changed since"),
        (changed_model, "the model changed since"), (changed_setting, "saved: --rho"),
        (changed_version, "the state is of version 0.1.0"), (changed_form, "another form than this build"),
        (lost_image, "does not exist"), (no_step, "another form than this build"),
        (small_momentum, "another form than this build"), (no_origin, "not a state of this version"),
        (junk_in_the_log, "events.jsonl, line 1: is no line that a run writes"),
    ],
)  # fmt: skip
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
    assert named in ran.err
    assert ran.err.count("error:") == 1
    assert "Traceback" not in ran.err
    assert (moved / "run" / "state" / "state.pt").read_bytes() == before


@pytest.fixture
def copied(stopped: Path, tmp_path: Path) -> Path:
    """A copy of the stopped run, to be spoilt."""
    out = tmp_path / "run"
    shutil.copytree(stopped, out)
    return out


def full_disk() -> None:
    """From the first training step on, no file of this process gets larger than half a state."""
    from fairprune_cli.run.folder import RunFolder

    def full(self: RunFolder, epochs: int) -> None:
        largest_file(self.state.stat().st_size // 2)

    RunFolder.keep_events = full  # type: ignore[method-assign]


def largest_file(size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def no_more_memory() -> None:
    """From the first training step on, this process gets no more memory."""
    import resource

    from fairprune_cli.training.trainer import Trainer

    def full(self: Trainer) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.getrlimit(resource.RLIMIT_AS)[1]))
        torch.zeros(1 << 28)

    Trainer.step = full  # type: ignore[method-assign]


def read_only() -> None:
    """No file can be made or removed in a state's folder; permissions alone would not stop a test that runs as root."""
    make, remove = tempfile.mkstemp, Path.unlink

    def refuse_to_make(*arguments: Any, **more: Any) -> Any:
        if Path(more["dir"]).name == "state":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(more["dir"]))
        return make(*arguments, **more)

    def refuse_to_remove(self: Path, missing_ok: bool = False) -> None:
        if self.parent.name == "state":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        remove(self, missing_ok)

    tempfile.mkstemp, Path.unlink = refuse_to_make, refuse_to_remove  # type: ignore[method-assign,assignment]


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(full_disk, "cannot write"), (no_more_memory, "error: out of memory"), (read_only, "Read-only file system")],
)
def test_trouble_with_the_machine_leaves_the_former_state(
    trouble: Callable[[], None], said: str, work: Work, copied: Path, tmp_path: Path
) -> None:
    before = (copied / "state" / "state.pt").read_bytes()
    ran = begin(work, tmp_path, "prune", "--resume", str(copied), before=trouble)
    assert ran.wait() == 3, ran.err
    assert ran.err.count("error:") == 1
    assert said in ran.err
    assert "internal" not in ran.err
    assert "Traceback" not in ran.err
    assert (copied / "state" / "state.pt").read_bytes() == before
    assert not list((copied / "state").glob(".*.tmp"))


def full_disk_at_the_report() -> None:
    from fairprune_cli import report

    write = report.write

    def full(*arguments: Any) -> Any:
        largest_file(2000)
        return write(*arguments)

    report.write = full


def test_a_disk_that_is_full_when_the_report_is_written_loses_no_training(
    work: Work, weight_run: Path, copied: Path, tmp_path: Path
) -> None:
    ran = begin(work, tmp_path, "prune", "--resume", str(copied), before=full_disk_at_the_report)
    assert ran.wait() == 3, ran.err
    assert "report.json: cannot write" in ran.err
    again = begin(work, tmp_path, "prune", "--resume", str(copied))
    assert again.wait() == 0, again.err
    assert "continuing at step 14 of 14" in again.err
    assert (copied / "model.safetensors").read_bytes() == (weight_run / "model.safetensors").read_bytes()


def images_vanish() -> None:
    """Two images of every chunk are gone when it is their turn to be decoded."""
    from fairprune_cli.data.images.cache import Cache

    decode = Cache._decode_chunk

    def late(self: Cache, chunk: Sequence[int], *words: Any) -> Any:
        for i in chunk[:2]:
            Path(self.manifest.root, self.manifest.files[i]).unlink()
        return decode(self, chunk, *words)

    Cache._decode_chunk = late  # type: ignore[method-assign]


def images_change() -> None:
    """An image is another one when it is decoded than it was when the cache was looked into."""
    from fairprune_cli.data.images.cache import Cache

    decode = Cache._decode_chunk

    def late(self: Cache, chunk: Sequence[int], *words: Any) -> Any:
        shutil.copy(*(Path(self.manifest.root, self.manifest.files[i]) for i in chunk[:2]))
        return decode(self, chunk, *words)

    Cache._decode_chunk = late  # type: ignore[method-assign]


def small_disk() -> None:
    """Room for a model, and not for the images."""
    largest_file(1_500_000)


def no_room() -> None:
    largest_file(100_000)


@pytest.mark.parametrize(
    ("trouble", "code", "said"),
    [
        (images_vanish, 2, "does not exist"), (images_change, 2, "images changed while they were decoded"),
        (small_disk, 3, "decoded images cannot be stored"),
        (no_room, 3, "the pruned network could not be written and read back: cannot write"),
    ],
)  # fmt: skip
def test_trouble_while_images_are_decoded_for_the_first_time(
    trouble: Callable[[], None], code: int, said: str, work: Work, tmp_path: Path
) -> None:
    moved, cache = tmp_path / "faces", tmp_path / "cache"
    shutil.copytree(work.folder, moved, ignore=shutil.ignore_patterns("runs"))
    ran = start(*PRUNE, cwd=moved, log=tmp_path / "log", env={"FAIRPRUNE_CACHE": str(cache)}, before=trouble)
    assert ran.wait() == code, ran.err
    assert ran.err.count("error:") == 1
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not (moved / "runs").exists() or not any((moved / "runs").iterdir())
    assert not list(cache.rglob("pixels.u8"))


def cut_short(content: bytearray) -> bytearray:
    return content[:-1000]


def one_bit(content: bytearray) -> bytearray:
    """One bit of a number, which torch would take for what was saved."""
    content[len(content) // 2] ^= 1
    return content


@pytest.mark.parametrize("damage", [cut_short, one_bit])
def test_a_damaged_state_is_named(
    damage: Callable[[bytearray], bytearray], work: Work, copied: Path, tmp_path: Path
) -> None:
    state = copied / "state" / "state.pt"
    (copied / "state" / "former.pt").unlink(missing_ok=True)
    state.write_bytes(damage(bytearray(state.read_bytes())))
    ran = begin(work, tmp_path, "prune", "--resume", str(copied))
    assert ran.wait() == 2, ran.err
    assert "the saved state is damaged" in ran.err
    assert f"remove {copied / 'state'}, and --resume begins at the first step" in ran.err
    assert "internal" not in ran.err


def test_after_a_damaged_state_the_one_before_it_is_continued(
    work: Work, weight_run: Path, copied: Path, tmp_path: Path
) -> None:
    state = copied / "state" / "state.pt"
    shutil.copy(state, copied / "state" / "former.pt")
    state.write_bytes(one_bit(bytearray(state.read_bytes())))
    ran = begin(work, tmp_path, "prune", "--resume", str(copied))
    assert ran.wait() == 0, ran.err
    assert "the run goes on from the one before it" in ran.err
    assert (copied / "model.safetensors").read_bytes() == (weight_run / "model.safetensors").read_bytes()
