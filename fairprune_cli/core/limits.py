"""What a file may cost: one table of limits, each held before the work it guards, and one option that raises them.

A file of some kilobytes can ask for gigabytes or hours: by counts that it only claims, by parts that unfold, by values
that contain themselves. FAIRPRUNE_LIMITS raises a limit, as in `FAIRPRUNE_LIMITS=pickle_instructions=5000000`, several
by comma. It is an environment variable and no setting: a file must not lift what guards against files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from fairprune_cli.core.errors import FairpruneError, nearest

VARIABLE = "FAIRPRUNE_LIMITS"

DEFAULTS: Mapping[str, int] = {
    # Checkpoints, model files and graphs. A state dict needs some 25 instructions per tensor.
    "pickle_instructions": 1_000_000,
    "pickle_bytes": 256 << 20,
    "network_modules": 100_000,
    "network_depth": 64,
    "unfolded_bytes": 1 << 30,
    "network_bytes": 1 << 30,
    "graph_bytes": 1 << 30,
    "graph_nodes": 50_000,
    "graph_seconds": 30,
    "classes": 1_000_000,
    # Tables, manifests, images and YAML.
    "image_side_pixels": 4096,
    "yaml_values": 100_000,
    "yaml_depth": 40,
    "yaml_bytes": 2 << 20,
    "events_bytes": 256 << 20,
    "report_bytes": 64 << 20,
    "report_depth": 40,
    "report_values": 2_000_000,
    "attributes": 1_000,
    "tasks": 1_000,
    "policy_rules": 1_000,
    "image_pixels": 100_000_000,
    "slow_image_pixels": 4_000_000,
    "wide_image_pixels": 40_000_000,
    "table_cells": 24_000_000,
    "table_columns": 10_000,
    "table_rows": 16_000_000,
    "table_faults": 100_000,
    "parquet_page_bytes": 256 << 20,
    "parquet_bytes": 2 << 30,
    "shards": 100_000,
    # Files as they lie there, by what they are; they are looked at before they are read.
    "image_bytes": 512 << 20,
    "table_bytes": 2 << 30,
    "predictions_bytes": 64 << 30,
    "written_bytes": 64 << 20,
}
"""The most that is borne without the option, by name; the name ends in the unit."""


def limit(name: str) -> int:
    """The limit of this name: as FAIRPRUNE_LIMITS says, else the default.

    Raises:
        FairpruneError: FAIRPRUNE_LIMITS is not as `NAME=NUMBER,NAME=NUMBER`, or names a limit that there is not.
    """
    return _raised(os.environ.get(VARIABLE, "")).get(name, DEFAULTS[name])


def excess(value: int, name: str, what: str = "") -> str:
    """In a few words that `value` is above the limit of this name; "" where it is not.

    Args:
        what: has so many, as in "the pickle in it"; the limit's unit follows the figure.
    """
    most = limit(name)
    if value <= most:
        return ""
    unit = name.replace("_", " ")
    return f"{what or 'it'} has {figure(value)} {unit}; at most {most:,} are read"


def how_to_raise(value: int, name: str) -> str:
    """How to mend an `excess`: the option that raises the limit as far as is needed, twofold at least.

    What is counted while it is read has come only just above the limit when it is refused.
    """
    wanted = min(max(value, 2 * limit(name)), 1 << 62)
    return f"if you trust where it comes from, {VARIABLE}={name}={wanted} raises the limit"


def refusal(value: int, name: str, what: str = "") -> str:
    """An `excess` and how to raise the limit, in one text; "" where it is not above."""
    over = excess(value, name, what)
    return f"{over}; {how_to_raise(value, name)}" if over else ""


def refuse_above(value: int, name: str, where: str = "", what: str = "", hint: str = "") -> None:
    """Hold what a file asks for against a limit, before the work is begun.

    Args:
        value: what it asks for; name: of the limit.
        where: file, row or key at fault; what: as of `excess`.
        hint: how to mend it otherwise, before the option is named.

    Raises:
        FairpruneError: the value is above the limit; the message has both figures and the option.
    """
    if text := excess(value, name, what):
        raise FairpruneError(text, where=where, hint=f"{hint}; {how_to_raise(value, name)}".removeprefix("; "))


def figure(value: int) -> str:
    """A whole number in words; Python refuses to write one of thousands of digits."""
    return f"{value:,}" if abs(value).bit_length() <= 64 else f"more than 10^{int(value.bit_length() * 0.30103)}"


@lru_cache(maxsize=8)  # it is asked for at every operator of a graph
def _raised(text: str) -> Mapping[str, int]:
    """What FAIRPRUNE_LIMITS says."""
    raised = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = (word.strip() for word in part.partition("="))
        if name not in DEFAULTS:
            raise FairpruneError(f"there is no limit {name[:60]!r}", where=VARIABLE, hint=nearest(name, DEFAULTS))
        if not number.isdecimal() or not 0 < len(number) < 20:
            raise FairpruneError(
                f"{name} has no whole number: {part[:60]!r}", where=VARIABLE, hint=f"as in {name}={DEFAULTS[name]}"
            )
        raised[name] = int(number)
    return raised
