"""Settings of the data: which manifest, which attributes, and the seed of everything that is drawn from it."""

from __future__ import annotations

from dataclasses import dataclass

from fairprune_cli.core.settings import setting

MOST_SEED = 2**31 - 1
LEAST_IMAGES = 30  # of which a rate says something


@dataclass(frozen=True)
class SeedOptions:
    """Randomness."""

    seed: int = setting(0, "seed of every random draw", low=0, high=MOST_SEED)


@dataclass(frozen=True)
class DataOptions:
    """Where images and groups come from."""

    data: str | None = setting(None, "manifest of the data set", metavar="path")
    attr: tuple[str, ...] = setting((), "sensitive attributes; a*b is an intersection", metavar="name,...")
