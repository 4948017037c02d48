"""Several processes compute what one does; masks and counts are the same on all of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from fairprune_cli.core import distributed as ranks
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.training.records import Progress
from fairprune_cli.training.sync_batchnorm import shared_norms
from fairprune_cli.training.trainer import Trainer, TrainOptions
from tests.support.processes import call
from tests.support.training import Images, Source, trainer


class Case(NamedTuple):
    """A run of `passes` batches of so many images, which several processes divide among them."""

    method: str
    granularity: str
    images: int
    passes: float
    dtype: torch.dtype = torch.float64


# 10 images are divided unevenly and leave groups out on some processes; of 3 one of four processes has none.
CASES = [
    Case("bifp", "weight", 16, 12.0), Case("bifp", "channel", 10, 12.0), Case("fairgrape", "weight", 10, 5.0),
    Case("bifp", "channel", 3, 6.0), Case("bifp", "weight", 16, 6.0, torch.float32),
]  # fmt: skip
NAMES = [f"{c.method}-{c.granularity}-{c.images}-{c.dtype}" for c in CASES]


class Divided(Source):
    """The first images of every batch, as numbers of `dtype`, and of them the part of this process."""

    def __init__(self, seed: int, images: int = 16, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(seed)
        self.images, self.dtype = images, dtype

    def next(self) -> Images:
        batch = Images(*(part[: self.images] for part in super().next()))
        own = ranks.current().share(self.images)
        return batch._replace(images=batch.images[own].to(self.dtype))


def divided(case: Case) -> Trainer:
    """A trainer at the default learning rate, 0.1."""
    options = TrainOptions(upper_every=2, epochs=3, saliency_batches=1)
    run = trainer(case.method, case.granularity, passes=case.passes, options=options, dtype=case.dtype)
    run.lower, run.upper = (Divided(seed, case.images, case.dtype) for seed in (1, 2))
    return run


def one_run(case: Case) -> dict[str, Any]:
    """What a whole run ends with, channels removed, and its mask and counts after each step."""
    torch.set_num_threads(1)
    run = divided(case)
    counts, masks = [], []

    def note(_: Progress) -> None:
        counts.append(torch.from_numpy(run.constraint.tallies[0].counts.copy()))
        masks.append(run.masks.keep.clone())

    run.on_progress = note
    assert run.run()
    return {
        "model": {k: v.clone() for k, v in run.model.state_dict().items()}, "masks": masks, "counts": counts,
        "multipliers": torch.from_numpy(run.constraint.multipliers[0].copy()),
    }  # fmt: skip


def starve(model: nn.Module, most: Callable[[], int]) -> None:
    """Let the model run out of memory with more images than `most()`."""
    forward = model.forward

    def limited(images: Tensor) -> Tensor:
        if len(images) > most():
            raise RuntimeError("out of memory")
        logits: Tensor = forward(images)
        return logits

    model.forward = limited  # type: ignore[method-assign]


def short_of_memory(group: ranks.Ranks) -> dict[str, Any]:
    """A run of which process 1 has room for 3 images at a time."""
    run = divided(Case("bifp", "channel", 16, 3.0))
    starve(run.model, lambda: 3 if group.number == 1 else 16)
    said: list[str] = []
    run.compute.say = said.append
    run.run()
    return {"pieces": run.compute.pieces, "said": said, "keep": run.masks.keep}


def out_of_memory_in_a_step(group: ranks.Ranks) -> None:
    """Process 1 has room for the first two steps only."""
    run = divided(CASES[0])
    starve(run.model, lambda: 0 if group.number == 1 and run.step == 2 else 16)
    run.run()


def in_a_process(number: int, count: int, port: int, target: str) -> None:
    os.environ |= {
        "RANK": str(number), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    found: dict[str, Any] = {"faults": []}
    faults = found["faults"]
    try:
        with ranks.joined(torch.device("cpu")) as group:
            found["results"] = [one_run(case) for case in CASES]
            for fails_on in (0, 1):
                try:
                    with group.together():
                        if group.number == fails_on:
                            raise FairpruneError("the disk of this machine is gone", where="/data")
                except FairpruneError as error:
                    faults.append(str(error))
            try:
                group.refuse_differences("the mask", torch.tensor([number]))
            except FairpruneError as error:
                faults.append(str(error))
            found["any"] = group.any(number == 1)
            found["short"] = short_of_memory(group)
            out_of_memory_in_a_step(group)
    except FairpruneError as error:
        found["end"] = [type(error).__name__, str(error), int(error.code)]
    torch.save(found, f"{target}-{number}.pt")


@pytest.fixture(scope="module", params=[2, 4], ids=["two", "four"])
def all_of_them(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two or four processes ends with."""
    target = tmp_path_factory.mktemp("ranks") / "result"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [call(in_a_process, r, request.param, port, str(target)) for r in range(request.param)]
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    return [torch.load(f"{target}-{r}.pt", weights_only=True) for r in range(request.param)]


@pytest.fixture(scope="module")
def alone() -> list[dict[str, Any]]:
    return [one_run(case) for case in CASES]


@pytest.mark.parametrize("case", range(len(CASES)), ids=NAMES)
def test_several_processes_equal_one(all_of_them: list[dict[str, Any]], alone: list[dict[str, Any]], case: int) -> None:
    """In float64 every mask and count of a whole run is equal, and weights to 1e-9.

    In float32 the order of additions is seen, but no more than that: while the mask moves, in single units.
    """
    expected, exact = alone[case], CASES[case].dtype == torch.float64
    first = all_of_them[0]["results"][case]
    for other in all_of_them[1:]:
        assert torch.equal(first["masks"][-1], other["results"][case]["masks"][-1])
        for name, value in first["model"].items():
            assert torch.equal(value, other["results"][case]["model"][name]), name
    assert len(first["counts"]) == len(expected["counts"]) >= 3
    if not exact:
        assert (first["masks"][-1] != expected["masks"][-1]).float().mean() <= 1e-3
        return
    assert all(torch.equal(a, b) for a, b in zip(first["masks"], expected["masks"], strict=True))
    assert torch.equal(torch.stack(first["counts"]), torch.stack(expected["counts"]))
    assert torch.equal(first["multipliers"], expected["multipliers"])
    for name, value in expected["model"].items():
        assert first["model"][name].shape == value.shape
        assert torch.allclose(first["model"][name], value, rtol=0, atol=1e-9 * float(value.abs().max())), name


def test_the_process_with_the_least_memory_decides_on_pieces(all_of_them: list[dict[str, Any]]) -> None:
    """Of 8 images process 1 has room for 3: four pieces. Four processes with 4 each need two."""
    pieces = {2: 4, 4: 2}[len(all_of_them)]
    for found in all_of_them:
        assert found["short"]["pieces"] == pieces
        assert f"in {pieces} pieces" in found["short"]["said"][-1]
        assert torch.equal(found["short"]["keep"], all_of_them[0]["short"]["keep"])


def test_memory_that_runs_out_in_a_step_ends_all_and_the_one_that_knows_says_so(
    all_of_them: list[dict[str, Any]],
) -> None:
    kind, text, code = all_of_them[1]["end"]
    assert (kind, code) == ("OwnFault", ExitCode.RUNTIME)
    assert text.startswith("out of memory on process 1")
    assert "more processes" in text
    for found in all_of_them[:1] + all_of_them[2:]:
        kind, text, code = found["end"]
        assert (kind, code) == ("FairpruneError", ExitCode.RUNTIME)
        assert text.startswith("another process of this run ended")


def test_a_fault_on_one_process_ends_all_and_the_first_one_names_it(all_of_them: list[dict[str, Any]]) -> None:
    first, second = (r["faults"] for r in all_of_them[:2])
    assert first[1].startswith("/data: on process 1: the disk of this machine is gone")
    assert second[0].startswith("/data: on process 0: ")
    assert "the mask differs between the processes" in first[2]
    assert all(r["any"] is True for r in all_of_them)


def test_parts_of_a_batch_are_disjoint_and_whole() -> None:
    for images in (0, 1, 5, 128):
        parts = [ranks.Ranks(r, 3).share(images) for r in range(3)]
        assert [i for part in parts for i in range(images)[part]] == list(range(images))


def test_one_process_needs_no_other(tmp_path: Path) -> None:
    group = ranks.current()
    assert not group.several
    value = torch.arange(6.0).view(3, 2)
    assert torch.equal(group.gather(value, [3]), value)
    assert group.from_first("x") == "x"
    model = nn.Sequential(nn.BatchNorm2d(2))
    with shared_norms(model, group):
        assert "forward" not in vars(model[0])
