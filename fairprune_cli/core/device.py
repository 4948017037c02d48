"""Device, threads and memory of a run."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.utils.deterministic

from fairprune_cli.core.ending import exits_are_named, name_exits_of_libraries
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.memory import peak_resident_bytes
from fairprune_cli.core.parallel import decoding_threads, refuse_too_many


def choose_device(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda, cuda:N or mps.

    auto takes CUDA where there is one, else the CPU (MPS only when it is asked for by name). A CUDA device that has a
    number becomes torch's current one, as its streams, generators and memory are those that torch speaks of without a
    number. Of several processes on a machine each takes its own.

    Raises:
        FairpruneError: no such device on this machine, or one for several processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind == "cuda" and "LOCAL_RANK" in os.environ:
        if index and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
            raise FairpruneError(
                f"{name} cannot serve several processes", where="--device", hint="use cuda, and each takes its own"
            )
        index = index or os.environ["LOCAL_RANK"]
        name = f"cuda:{index}"
    if kind not in {"cpu", "cuda", "mps"} or (index and (kind != "cuda" or not index.isdigit())):
        raise FairpruneError(f"unknown device {name!r}", where="--device", hint="auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and (not torch.cuda.is_available() or int(index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise FairpruneError(f"{name} is not there: {count} CUDA devices found", where="--device", hint="use cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise FairpruneError("mps is not available on this machine", where="--device", hint="use cpu")
    if kind == "cuda" and index:
        torch.cuda.set_device(int(index))
    return torch.device(name)


def set_threads(threads: int) -> int:
    """Limit torch to `threads` CPU threads (0: leave it, but for more than there may be); returns the number in use.

    Raises:
        FairpruneError: the machine does not give this process as many.
    """
    if exits_are_named():
        name_exits_of_libraries()  # torch has registered what it does at the end of the process
    if threads:
        refuse_too_many(threads, "--set threads")
        torch.set_num_threads(threads)
    elif torch.get_num_threads() > decoding_threads():  # by OMP_NUM_THREADS, say
        refuse_too_many(torch.get_num_threads(), "OMP_NUM_THREADS")
    return torch.get_num_threads()


def repeatable(device: torch.device) -> None:
    """Have CUDA choose algorithms that give the same bits each time, where it has them; the CPU's always do."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Else each new tensor is filled with NaN first, for programs that read what nobody wrote.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextmanager
def torch_as_it_was() -> Iterator[None]:
    """A block after which torch's threads, generators and choice of algorithms are again what they were before it.

    A command ends with its process; a notebook goes on, and its next cell should not be another for what ran before.
    """
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


@contextmanager
def strictly_repeatable(device: torch.device, fault: Callable[[], str]) -> Iterator[str]:
    """A block in which CUDA takes only algorithms that give the same bits each time, if a trial works by that rule.

    Fused attention keeps to such algorithms only where the others are forbidden: where they are merely warned of, as
    after `repeatable`, its gradient is added up in any order.

    Args:
        fault: tries what the block does; says what failed, empty where nothing did.

    Yields:
        What failed, where the rule was given up for that; else "".
    """
    if device.type != "cuda":
        yield ""
        return
    torch.use_deterministic_algorithms(True)
    failed = fault()
    torch.use_deterministic_algorithms(True, warn_only=bool(failed))
    try:
        yield failed
    finally:
        torch.use_deterministic_algorithms(True, warn_only=True)


@contextmanager
def tf32(device: torch.device, allowed: bool) -> Iterator[None]:
    """A block whose float32 convolutions and matrix products on CUDA may, or may not, round their factors to TF32.

    TF32 keeps 10 of the 23 bits of a factor and adds up in float32, several times as fast on cards that have it.
    torch allows it for convolutions by default and for matrix products not. Other devices have no TF32.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    _set_tf32("high" if allowed else "highest", allowed)
    try:
        yield
    finally:
        _set_tf32(*before)


def _set_tf32(products: str, convolutions: bool) -> None:
    # These two setters keep what torch's newer `fp32_precision` flags say in step. The other way round it does not
    # work: once a newer flag is set, torch's own compiler fails where it reads one of these.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions say that they are older
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def arithmetic(device: torch.device, bf16: bool) -> str:
    """In words, how convolutions and matrix products are computed where `tf32` is allowed, or in bf16 autocast."""
    if bf16:
        return "bf16 autocast"
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0):
        return "float32, convolutions and matrix products in TF32"
    return "float32"


def machine(device: torch.device, threads: int) -> str:
    """The kind of machine in words."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{platform.system()} {name}, {threads} CPU threads"


def process_peak_bytes(device: torch.device) -> int | None:
    """Largest memory of the process so far, in bytes: on CUDA what torch allocated, else resident memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_resident_bytes()
