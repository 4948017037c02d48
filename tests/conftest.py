"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Tests compute on the CPU, also where there is a GPU: so say the commands that they start, by the environment, and in
# this process torch sees no GPU (below). Those marked `cuda` name their device.
os.environ["FAIRPRUNE_DEVICE"] = "cpu"
_KEPT = {"FAIRPRUNE_DATA_ROOT", "FAIRPRUNE_DEVICE"}

# Under nohup, or behind a shell that runs this in the background, signals would not reach what is tested.
for _number in (signal.SIGHUP, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing about the code on a machine that others use too.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _no_gpu_is_seen() -> Iterator[None]:
    """Whoever asks torch whether there is a GPU hears no; `tests/cuda` asks before."""
    with pytest.MonkeyPatch.context() as patch:
        if "torch" in sys.modules:
            patch.setattr(sys.modules["torch"].cuda, "is_available", lambda: False)
        yield


@pytest.fixture(autouse=True)
def _own_cache_and_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither read nor fill the user's cache, and no setting but the device leaks in from the environment."""
    for name in [n for n in os.environ if n.startswith("FAIRPRUNE_") and n not in _KEPT]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FAIRPRUNE_CACHE", str(_cache(tmp_path_factory)))


_folders: dict[int, Path] = {}


def _cache(factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the whole session: decoding once is what a cache is for."""
    return _folders.setdefault(0, factory.getbasetemp() / "cache")
