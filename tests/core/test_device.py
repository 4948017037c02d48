"""Which device is taken, and what is set for CUDA; none of it needs one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from fairprune_cli.core.device import arithmetic, choose_device, repeatable, strictly_repeatable, tf32
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.run.options import Settings, resolve

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, cards: int = 1) -> list[int]:
    """Let torch say that there are GPUs; returns the numbers that become the current device."""
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    return taken


def flags() -> list[Any]:
    """How torch rounds, by its older and by its newer settings, which refuse to be read where they disagree."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    newer = [cuda.fp32_precision == "tf32", cudnn.conv.fp32_precision == "tf32"]  # type: ignore[attr-defined]
    return [torch.get_float32_matmul_precision(), cuda.allow_tf32, cudnn.allow_tf32, *newer]


@pytest.fixture
def _as_before() -> Iterator[None]:
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_tests_compute_on_the_cpu_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device(Settings().device) == CPU
    pretend(monkeypatch)
    assert choose_device(Settings().device) == CUDA
    assert choose_device(resolve({}, os.environ, None).settings.device) == CPU


def test_a_device_that_has_a_number_is_torchs_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = pretend(monkeypatch, cards=2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cuda") == CUDA
    assert taken == [1]
    with pytest.raises(FairpruneError, match="cuda:2 is not there: 2 CUDA devices"):
        choose_device("cuda:2")


def test_of_several_processes_each_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = pretend(monkeypatch, cards=2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda:1")
    assert choose_device("cpu") == CPU
    with pytest.raises(FairpruneError, match="cuda:0 cannot serve several processes"):
        choose_device("cuda:0")
    assert taken == [1, 1]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")  # a process per machine may take any
    assert choose_device("cuda:0") == torch.device("cuda:0")


@pytest.mark.usefixtures("_as_before")
def test_repeatable_fills_no_memory_that_nobody_reads() -> None:
    repeatable(CPU)
    assert not torch.are_deterministic_algorithms_enabled()
    repeatable(CUDA)
    assert torch.are_deterministic_algorithms_enabled()
    fresh = [torch.empty(1000) for _ in range(5)]
    assert not any(bool(tensor.isnan().all()) for tensor in fresh)


def rule() -> tuple[bool, bool]:
    """Whether torch wants repeatable algorithms, and whether it only warns of others."""
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize(("fault", "inside"), [("", (True, False)), ("no such algorithm", (True, True))])
def test_algorithms_that_are_not_repeatable_are_forbidden_where_the_trial_works_without_them(
    fault: str, inside: tuple[bool, bool]
) -> None:
    repeatable(CUDA)
    tried: list[tuple[bool, bool]] = []

    def trial() -> str:
        tried.append(rule())
        return fault

    with strictly_repeatable(CUDA, trial) as found:
        assert (found, rule()) == (fault, inside)
    assert tried == [(True, False)]
    assert rule() == (True, True)


def test_on_the_cpu_nothing_is_tried_and_no_rule_set() -> None:
    before = rule()
    with strictly_repeatable(CPU, lambda: pytest.fail("tried")) as found:
        assert (found, rule()) == ("", before)


def audit_that_fails(seen: list[Any]) -> None:
    with tf32(CUDA, False):
        seen += flags()
        raise KeyError


def test_tf32_is_allowed_for_a_block_and_all_of_torchs_settings_agree() -> None:
    before = flags()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with tf32(CUDA, True):
            assert flags() == ["high", True, True, True, True]
            seen = []
            with pytest.raises(KeyError):
                audit_that_fails(seen)
            assert seen == ["highest", False, False, False, False]
            assert flags() == ["high", True, True, True, True]
        assert flags() == before
        with tf32(CPU, True):
            assert flags() == before


@pytest.mark.parametrize(
    ("device", "bf16", "card", "words"),
    [
        (CPU, False, (0, 0), "float32"), (CPU, True, (0, 0), "bf16 autocast"), (CUDA, True, (9, 0), "bf16 autocast"),
        (CUDA, False, (9, 0), "float32, convolutions and matrix products in TF32"), (CUDA, False, (7, 5), "float32"),
    ],
)  # fmt: skip
def test_the_arithmetic_in_words(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, bf16: bool, card: tuple[int, int], words: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: card)
    assert arithmetic(device, bf16) == words
