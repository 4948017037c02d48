"""The input transform: how an image becomes what the model reads, and its section of a manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import yaml

from fairprune_cli.core.errors import FairpruneError, Problem, Problems
from fairprune_cli.core.yaml_text import yaml_nodes
from fairprune_cli.data.manifest.image_shape import LARGEST_SIDE, SMALLEST_SIDE, ImageShape, Size
from fairprune_cli.data.manifest.yaml_section import YamlSection

CHANNELS = {1: "one number (grey)", 3: "three numbers (red, green, blue)"}


@dataclass(frozen=True)
class Transform:
    """An image as the model's input: its centre at `size` pixels, then (value / 255 - mean) / std per channel.

    Attributes:
        size: the side of a square, or (height, width).
        mean, std: one number each for grey images, three for colour.
    """

    size: Size
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", self.shape.size)  # equal sides are one number, however they were given

    @property
    def shape(self) -> ImageShape:
        return ImageShape.sized(len(self.mean), self.size)

    def to_dict(self) -> dict[str, object]:
        size = self.size if isinstance(self.size, int) else list(self.size)
        return {"size": size, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], where: str = "transform") -> Transform:
        """The transform that `to_dict` wrote.

        Raises:
            FairpruneError: a value is missing, of a wrong type or out of range.
        """
        problems = Problems(where)
        lists = [value if isinstance(value, list | tuple) else [value] for value in values.values()]
        if not all(len(one) <= max(CHANNELS) and all(map(_is_plain, one)) for one in (*lists, list(values))):
            raise FairpruneError("expected size, mean and std", where=where)
        try:
            text = yaml.safe_dump(dict(values), default_flow_style=True, width=math.inf)
        except (TypeError, ValueError, yaml.YAMLError) as error:
            raise FairpruneError("expected size, mean and std", where=where) from error
        transform = read_transform(YamlSection(yaml_nodes(text), "", problems))
        problems.found = [Problem(text.removeprefix("line 1: ")) for text in problems.texts]
        problems.raise_if_any()
        assert transform is not None
        return transform


def _is_plain(value: object) -> bool:
    """Whether a value of a file is a number or text that may be written out."""
    return isinstance(value, float | str) or (isinstance(value, int) and value.bit_length() <= 64)


def read_transform(section: YamlSection) -> Transform | None:
    """The transform that a section describes; None after noting what is wrong with it."""
    section.only("size", "mean", "std")
    size = _size(section)
    means, deviations = section.numbers("mean"), section.numbers("std")
    counts = {key: len(values) for key, values in (("mean", means), ("std", deviations)) if values}
    for key, count in counts.items():
        if count not in CHANNELS:
            section.fault(key, f"expected {' or '.join(CHANNELS.values())}, found {count}")
    if set(counts.values()) == set(CHANNELS):
        section.fault("std", f"has {len(deviations)} numbers, mean has {len(means)}")
    if deviations and min(deviations) <= 0:
        section.fault("std", "must be above 0")
    if size is None or len(means) not in CHANNELS or len(deviations) != len(means) or min(deviations) <= 0:
        return None
    return Transform(size, means, deviations)


def _size(section: YamlSection) -> Size | None:
    """One number or two, height and width; None after noting a fault."""
    several = section.is_list("size")
    sides = section.numbers("size") if several else (section.number("size"),)
    if any(math.isnan(side) for side in sides) or not sides:
        return None
    if several and len(sides) != 2:
        section.fault("size", f"expected one number, or two for height and width, found {len(sides)}")
        return None
    for side in sides:
        if not (side.is_integer() and SMALLEST_SIDE <= side <= LARGEST_SIDE):
            section.fault("size", f"expected a whole number from {SMALLEST_SIDE} to {LARGEST_SIDE}, found {side:g}")
            return None
    whole = tuple(int(side) for side in sides)
    return cast("tuple[int, int]", whole) if several else whole[0]
