"""How groups or classes come out of a column of the data: the sections `attributes.NAME` and `label` of a manifest."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairprune_cli.data.manifest.yaml_section import YamlSection


@dataclass(frozen=True)
class AttributeSpec:
    """How groups (or classes) come out of a column: by `values`, by `bins`, by `names`, or all that occur.

    `names` maps cells to the names of groups; several cells may share one. With `bins` it names the bins, and its
    keys are their positions. `missing` is what becomes of cells without a value: drop, or unknown, a group of its own;
    "" where the manifest does not say, which is drop as well.
    """

    name: str
    column: str
    values: tuple[str, ...] | None = None
    bins: tuple[float, ...] | None = None
    missing: str = ""
    names: Mapping[str, str] | None = None


def read_label(holder: YamlSection) -> AttributeSpec | None:
    """What is to be predicted: `label: COLUMN`, or `label: {column: COLUMN, names: {..}}` or with `bins`.

    Args:
        holder: the section in which `label` stands, with a value.
    """
    if not holder.is_mapping("label"):
        column = holder.text("label")
        return AttributeSpec("label", column) if column else None
    section = holder.section("label")
    section.only("column", "names", "bins")
    bins = read_bins(section)
    names = read_names(section, bins) if section.has("names") else None
    return AttributeSpec("label", section.text("column"), None, bins or None, names=names)


def read_names(section: YamlSection, bins: Sequence[float] | None = None) -> dict[str, str]:
    """`names`: {cell: name}, or with bins a list with a name for each."""
    if bins is not None:
        listed = section.texts("names")
        if listed and len(listed) != len(bins) - 1:
            section.fault("names", f"expected a name for each of the {len(bins) - 1} bins, found {len(listed)}")
        names = {str(i): name for i, name in enumerate(listed)}
    else:
        inner = section.section("names")
        names = {key: inner.text(key) for key in inner.nodes}
        if not names and section.is_mapping("names"):
            section.fault("names", "names nothing: give at least one value with its name, or remove the key")
    if any("*" in name for name in names.values()):
        section.fault("names", "a group's name must not contain `*`, which joins attributes")
    return {cell: name for cell, name in names.items() if name}


def read_bins(section: YamlSection) -> tuple[float, ...] | None:
    """Edges in rising order; () stands for a fault, None for no bins."""
    if not section.has("bins"):
        return None
    bins = section.numbers("bins")
    if len(bins) < 2 or any(b <= a for a, b in itertools.pairwise(bins)):
        if bins:
            section.fault("bins", "expected at least two edges in rising order")
        return ()
    return bins
