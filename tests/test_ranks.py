"""Several processes compute what one does; masks and counts are the same on all of them."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fairprune_cli import ranks
from fairprune_cli.errors import FairpruneError
from tests.processes import call

STEPS = 6


def one_run(method: str, granularity: str, balance: bool) -> dict[str, Any]:
    """A few steps in which the mask moves; the images of a batch are divided among the processes."""
    from fairprune_cli.training import TrainOptions
    from tests.test_training import Images, Source, trainer

    torch.set_num_threads(1)

    class Divided(Source):
        def next(self) -> Images:
            batch = super().next()
            return batch._replace(images=batch.images[ranks.current().share(len(batch.labels))])

    run = trainer(method, granularity, options=TrainOptions(lr=0.01, mask_every=2, epochs=3, saliency_batches=2))
    run.lower, run.upper = Divided(1), Divided(2)
    counts = []
    run.on_progress = lambda _: counts.append(torch.from_numpy(run.constraint.tallies[0].counts.copy()))
    run.run(lambda: run.step >= STEPS)
    return {
        "model": {k: v.clone() for k, v in run.model.state_dict().items()}, "keep": run.masks.keep, "counts": counts,
        "multipliers": torch.from_numpy(run.constraint.multipliers[0].copy()),
    }  # fmt: skip


def in_a_process(number: int, count: int, port: int, target: str, cases: list[tuple[str, str, bool]]) -> None:
    os.environ |= {
        "RANK": str(number), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    with ranks.joined(torch.device("cpu")) as group:
        results = [one_run(*case) for case in cases]
        faults = []
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
        torch.save({"results": results, "faults": faults, "any": group.any(number == 1)}, f"{target}-{number}.pt")


CASES = [("bifp", "weight", False), ("bifp", "channel", False), ("fairgrape", "weight", False)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes ends with."""
    target = tmp_path_factory.mktemp("ranks") / "result"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [call(in_a_process, r, 2, port, str(target), CASES) for r in range(2)]
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    return [torch.load(f"{target}-{r}.pt", weights_only=True) for r in range(2)]


@pytest.mark.parametrize("case", range(len(CASES)), ids=[f"{m}-{g}" for m, g, _ in CASES])
def test_two_processes_equal_one(both: list[dict[str, Any]], case: int) -> None:
    """Masks and counts exactly; weights, which are sums in another order, to 1e-4 of their largest after six steps."""
    alone = one_run(*CASES[case])
    first, second = (r["results"][case] for r in both)
    assert torch.equal(first["keep"], second["keep"])
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name
    assert (first["keep"] != alone["keep"]).float().mean() <= 2e-4
    for name, value in alone["model"].items():
        close = (first["model"][name] - value).abs() <= 1e-4 * value.abs().max().clamp_min(1.0)
        assert close.float().mean() >= 0.999, name
    assert torch.equal(torch.stack(first["counts"]), torch.stack(alone["counts"]))
    assert torch.equal(first["multipliers"], alone["multipliers"])


def test_a_fault_on_one_process_ends_all_and_the_first_one_names_it(both: list[dict[str, Any]]) -> None:
    first, second = (r["faults"] for r in both)
    assert first[1].startswith("/data: on process 1: the disk of this machine is gone")
    assert second[0].startswith("/data: on process 0: ")
    assert "the mask differs between the processes" in first[2]
    assert [r["any"] for r in both] == [True, True]


def test_parts_of_a_batch_are_disjoint_and_whole() -> None:
    for images in (0, 1, 5, 128):
        parts = [ranks.Ranks(r, 3).share(images) for r in range(3)]
        assert [i for part in parts for i in range(images)[part]] == list(range(images))


def test_one_process_needs_no_other(tmp_path: Path) -> None:
    alone = ranks.current()
    assert not alone.several
    value = torch.arange(6.0).view(3, 2)
    assert torch.equal(alone.gather(value, [3]), value)
    assert alone.from_first("x") == "x"
    model = nn.Sequential(nn.BatchNorm2d(2))
    with ranks.shared_norms(model, alone):
        assert "forward" not in vars(model[0])
