"""Grid points and names: `--grid KEY=V1,V2` as typed settings, and names of cells for people and file systems."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.core.plugins import is_import_path, short_name
from fairprune_cli.run.options import FIELDS, resolve

Point = tuple[tuple[str, Any], ...]
OWN_FLAGS = {"method": "--methods", "granularity": "--granularities", "sparsity": "--sparsities", "seed": "--seeds"}
LONGEST = 120  # of a name; file systems take 255 bytes, and state and claim files add to it
_UNSAFE = re.compile(r"[^a-z0-9._=+-]")


def grid_points(pairs: Sequence[str], given: Iterable[str]) -> list[Point]:
    """All grid points, as the product of the keys in the order they were given; one empty point without any.

    Args:
        pairs: KEY=V1,V2 each.
        given: keys that were set by a flag, which a grid must not contradict.

    Raises:
        FairpruneError: unknown or repeated key, a value that the key does not take, a key that is set elsewhere too.
    """
    axes: dict[str, list[Any]] = {}
    for pair in pairs:
        key, sign, texts = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not sign or not texts.strip():
            raise FairpruneError(
                f"{pair!r} is not KEY=V1,V2", where="--grid", hint="for example --grid tolerance=0.01,0.05"
            )
        if key not in FIELDS:
            raise FairpruneError(f"unknown key {key!r}", where="--grid", hint=nearest(key, FIELDS))
        if key in OWN_FLAGS:
            raise FairpruneError(f"{key} has a flag of its own", where="--grid", hint=f"use {OWN_FLAGS[key]}")
        if key in axes:
            raise FairpruneError(f"{key} is given twice", where="--grid", hint="list all its values at once")
        if key in set(given):
            raise FairpruneError(f"{key} is given as a grid and as a single value", where="--grid", hint="give it once")
        axes[key] = each_once([typed(key, text.strip()) for text in texts.split(",")], f"--grid {key}")
    return [tuple(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def typed(key: str, text: str) -> Any:
    """The value of a setting out of its text, checked as a flag is."""
    value = {"true": True, "false": False}.get(text.lower(), text)
    return getattr(resolve({key: value}, {}, None).settings, key)


def each_once(values: list[Any], where: str) -> list[Any]:
    """The values themselves, after a check that none is there twice."""
    doubled = [str(v) for i, v in enumerate(values) if v in values[:i]]
    if doubled:
        raise FairpruneError(f"{', '.join(doubled)} is given twice", where=where, hint="give it once")
    return values


def value_text(value: Any) -> str:
    """A setting's value in short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "+".join(value) if isinstance(value, tuple) else repr(value) if isinstance(value, float) else str(value)


def label(point: Mapping[str, Any] | Point) -> str:
    """A grid point in words: `tolerance=0.01 rho=0.1`."""
    return " ".join(f"{key}={value_text(value)}" for key, value in dict(point).items())


def cell_name(method: str, granularity: str, sparsity: float, point: Point, seed: int) -> str:
    """A name such as `bifp-channel-0.8-tolerance=0.01-s3`, the same for the same cell in every comparison.

    Lower case, and none of the characters that a file system or shell minds. Where a value had to be changed for
    that, a short hash of the values is added, so that names stay different.
    """
    raw = "-".join(
        [short_name(method), granularity, repr(sparsity), *(f"{key}={value_text(value)}" for key, value in point)]
    )
    safe = _UNSAFE.sub("_", raw.lower())[:LONGEST]
    if safe != raw or is_import_path(method):  # two packages may call a class alike
        exact = json.dumps([method, granularity, sparsity, point], ensure_ascii=True, sort_keys=True)
        safe += f"~{hashlib.sha256(exact.encode()).hexdigest()[:8]}"
    return f"{safe}-s{seed}"
