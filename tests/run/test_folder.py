"""States in a run folder: two at most, the newer one first, and each checked before it is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.run.folder import RunFolder, default_folder
from fairprune_cli.run.options import Settings


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
