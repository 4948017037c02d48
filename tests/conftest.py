"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# How long an example takes says nothing about the code on a machine that others use too.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _own_cache_and_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither read nor fill the user's cache, and no setting leaks in from the environment."""
    for name in [n for n in os.environ if n.startswith("FAIRPRUNE_") and n != "FAIRPRUNE_DATA_ROOT"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FAIRPRUNE_CACHE", str(_cache(tmp_path_factory)))


_folders: dict[int, Path] = {}


def _cache(factory: pytest.TempPathFactory) -> Path:
    """One cache folder for the whole session: decoding once is what a cache is for."""
    return _folders.setdefault(0, factory.getbasetemp() / "cache")
