"""The input transform: how an image becomes what the model reads, and its section of a manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from fairprune_cli.core.errors import FairpruneError, Problem, Problems
from fairprune_cli.data.manifest.yaml_section import YamlSection

SMALLEST_SIDE = 8


@dataclass(frozen=True)
class Transform:
    """An image as the model's input: size x size pixels, then (value / 255 - mean) / std per channel."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def to_dict(self) -> dict[str, object]:
        return {"size": self.size, "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], where: str = "transform") -> Transform:
        """The transform that `to_dict` wrote.

        Raises:
            FairpruneError: a value is missing, of a wrong type or out of range.
        """
        problems = Problems(where)
        try:
            text = yaml.safe_dump(dict(values), default_flow_style=True, width=math.inf)
        except (TypeError, ValueError, yaml.YAMLError) as error:
            raise FairpruneError("expected size, mean and std", where=where) from error
        transform = read_transform(YamlSection(yaml.compose(text, Loader=yaml.BaseLoader), "", problems))
        problems.found = [Problem(text.removeprefix("line 1: ")) for text in problems.texts]
        problems.raise_if_any()
        assert transform is not None
        return transform


def read_transform(section: YamlSection) -> Transform | None:
    """The transform that a section describes; None after noting what is wrong with it."""
    section.only("size", "mean", "std")
    size = section.number("size")
    means, deviations = section.numbers("mean"), section.numbers("std")
    if not math.isnan(size) and not (size.is_integer() and SMALLEST_SIDE <= size <= 4096):
        section.fault("size", f"expected a whole number from {SMALLEST_SIDE} to 4096, found {size:g}")
        size = math.nan
    for key, values in (("mean", means), ("std", deviations)):
        if values and len(values) != 3:
            section.fault(key, f"expected three numbers (red, green, blue), found {len(values)}")
    if deviations and min(deviations) <= 0:
        section.fault("std", "must be above 0")
    if math.isnan(size) or len(means) != 3 or len(deviations) != 3 or min(deviations) <= 0:
        return None
    mean, std = (means[0], means[1], means[2]), (deviations[0], deviations[1], deviations[2])
    return Transform(int(size), mean, std)
