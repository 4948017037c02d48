"""States in a run folder: two at most, the newer one first, and each checked before it is used."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import torch
import yaml

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run import prune
from fairprune_cli.run.config_file import CONFIG, read_config_of
from fairprune_cli.run.folder import RunFolder, default_folder
from fairprune_cli.run.options import Settings, resolve


def state(step: int) -> dict[str, object]:
    return {"origin": {}, "trainer": {"step": step, "weights": torch.full((1000,), float(step))}}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def step_of(folder: RunFolder, said: list[str]) -> int:
    loaded = folder.load_state(said.append)
    assert loaded is not None
    return int(loaded["trainer"]["step"])


def test_the_newest_state_that_is_whole_is_taken(tmp_path: Path) -> None:
    folder, said = RunFolder(tmp_path), list[str]()
    assert folder.load_state(said.append) is None
    for step in (1, 2, 3):
        folder.save_state(state(step))
    assert {path.name for path in folder.state.parent.iterdir()} == {"state.pt", "former.pt"}
    assert step_of(folder, said) == 3
    assert not said
    damage(folder.state)
    assert step_of(folder, said) == 2
    assert "damaged" in said[0]
    assert step_of(folder, said) == 2  # it has taken the other one's place, and the next one may be written
    assert len(said) == 1
    folder.save_state(state(4))
    damage(folder.state)
    damage(folder.former)
    with pytest.raises(FairpruneError, match="damaged") as caught:
        folder.load_state(said.append)
    assert "begins at the first step" in caught.value.hint


def test_a_write_that_fails_leaves_the_state(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.save_state(state(1))
    with pytest.raises(TypeError):
        folder.save_state({"origin": {}, "trainer": {"step": (value for value in ())}})
    assert step_of(folder, []) == 1


def test_without_links_there_is_one_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.link", refuse)
    folder = RunFolder(tmp_path)
    for step in (1, 2):
        folder.save_state(state(step))
    assert [path.name for path in folder.state.parent.iterdir()] == ["state.pt"]
    assert step_of(folder, []) == 2


@pytest.mark.parametrize(
    ("model", "settings", "name"),
    [
        ("net.pt", Settings(sparsity=0.5, granularity="2:4"), "net-bifp-2-4-0.5"),
        (
            "a:b.pt",
            Settings(sparsity=0.8, granularity="weight", method="own.package:MyMethod"),
            "a-b-my-method-weight-0.8",
        ),
    ],
)
def test_the_usual_folder_has_a_name_that_every_system_takes(model: str, settings: Settings, name: str) -> None:
    assert default_folder(Path(model), settings) == Path("runs", name)


INPUTS = {"model": "m.pt", "model_sha256": "0" * 64, "manifest": "m.yaml", "manifest_sha256": "0" * 64, "trust": "True"}


def begun(folder: Path, **inputs: str) -> Path:
    """A run folder as it is before the first state."""
    folder.mkdir()
    document = {"inputs": INPUTS | inputs, "settings": resolve({}, {}, None).document()}
    (folder / CONFIG).write_text(yaml.safe_dump(document))
    return folder


class Trace:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, int]]:
        return os.open, (str(self.path), os.O_CREAT | os.O_WRONLY)


def test_a_model_that_changed_is_told_before_it_is_loaded(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    torch.save(Trace(trace), tmp_path / "m.pt")
    folder = begun(tmp_path / "run", model=str(tmp_path / "m.pt"))
    terminal = Terminal(io.StringIO(), io.StringIO(), {})
    with pytest.raises(FairpruneError, match="the model changed since the run began"):
        prune.resume(folder, {}, terminal, trust=True)
    assert not trace.exists()


@pytest.mark.parametrize("key", INPUTS)
def test_a_run_whose_inputs_are_not_told_is_no_run(key: str, tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    assert read_config_of(folder)[2] == INPUTS
    document = yaml.safe_load((folder / CONFIG).read_text())
    del document["inputs"][key]
    (folder / CONFIG).write_text(yaml.safe_dump(document))
    with pytest.raises(FairpruneError, match=f"no run to continue: .*do not tell {key}") as caught:
        RunFolder.resume(folder, {})
    assert caught.value.code == ExitCode.BAD_INPUT


@pytest.mark.parametrize("text", ["", "[]", "inputs: 3", "settings: {seed: 1}\ninputs: {}", "settings: {[1]: {}}"])
def test_settings_of_another_form_are_no_run(text: str, tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    (folder / CONFIG).write_text(text)
    with pytest.raises(FairpruneError, match="no run to continue"):
        RunFolder.resume(folder, {})


def test_a_pipe_in_place_of_the_settings_is_not_waited_for(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)
    with pytest.raises(FairpruneError, match="no plain file"):
        RunFolder.resume(folder, {})


def test_a_setting_out_of_range_is_told_with_its_file(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    document = yaml.safe_load((folder / CONFIG).read_text())
    document["settings"]["epochs"]["value"] = -1
    (folder / CONFIG).write_text(yaml.safe_dump(document))
    with pytest.raises(FairpruneError, match="epochs: -1 is not a whole number") as caught:
        RunFolder.resume(folder, {})
    assert caught.value.where == str(folder / CONFIG)
