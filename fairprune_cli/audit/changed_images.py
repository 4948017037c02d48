"""Which images changed: the compression-identified exemplars of one pair of models (Hooker et al., arXiv 1911.05248).

People look at them to see what a model that was pruned has given up. The plainest come first: those in which the class
that the dense model predicts lost most of its probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fairprune_cli.audit.faithfulness_figures import Exemplar, Exemplars
from fairprune_cli.core.csv_text import written_csv
from fairprune_cli.data.tables.long_columns import texts_of

if TYPE_CHECKING:
    from fairprune_cli.audit.counts import NamedGroups

# An image whose prediction changed: before and after are the probability of the dense model's class in either model.
CHANGED = np.dtype([
    ("row", "i8"), ("label", "i4"), ("dense", "i4"), ("predicted", "i4"), ("before", "f4"), ("after", "f4"),
])  # fmt: skip
ATTRIBUTE = "attribute: "  # before an attribute's name in the table, which may be called as one of the other columns
LISTED = 10  # images of a group that the report names; the table has all
LOST, GAINED, OTHERWISE = "lost", "gained", "otherwise"


class Images(Protocol):
    """Where names and groups come from: the manifest's files by row, and groups [N, A], -1 where in none."""

    @property
    def groups(self) -> Any: ...
    @property
    def manifest(self) -> Any: ...


class ChangedImages:
    """Remembers the images whose prediction changed: 28 bytes for each of them, however many there are."""

    def __init__(self) -> None:
        self.found: dict[str, list[NDArray[Any]]] = {}

    def add(
        self, model: str, rows: NDArray[Any], labels: NDArray[Any], dense: NDArray[Any], predicted: NDArray[Any],
        before: NDArray[Any] | float = math.nan, after: NDArray[Any] | float = math.nan,
    ) -> None:  # fmt: skip
        """Take in images, [n], all of which changed.

        Args:
            rows: their positions in the manifest.
            dense, predicted: what the dense model and this one predict.
            before, after: probability of the dense model's class in either model; NaN where it is not known.
        """
        found = np.empty(len(rows), CHANGED)
        found["row"], found["label"], found["dense"], found["predicted"] = rows, labels, dense, predicted
        found["before"], found["after"] = before, after
        self.found.setdefault(model, []).append(found)

    def merge(self, others: Iterable[Mapping[str, list[NDArray[Any]]]]) -> None:
        """Take in what others `found` who looked on at other images of the same audit."""
        for found in others:
            for name, parts in found.items():
                self.found.setdefault(name, []).extend(parts)

    def of(self, model: str) -> NDArray[Any]:
        """The images that changed, [n] of `CHANGED`, the plainest first, then by row."""
        parts = self.found.get(model, [])
        images = np.concatenate(parts) if parts else np.empty(0, CHANGED)
        return images[np.lexsort((images["row"], images["after"] - images["before"]))]

    def by_group(
        self, model: str, groupings: Sequence[NamedGroups], groups: np.ndarray, most: int, lost: bool = False
    ) -> Iterator[tuple[str, str, NDArray[Any]]]:
        """(attribute, group, at most `most` of its images), of groups that have any.

        Args:
            groups: of all images, [N, A], a column for each grouping.
            lost: those alone that the dense model had right.
        """
        images = self.of(model)
        if lost:
            images = images[images["label"] == images["dense"]]
        of = groups[images["row"]]
        for column, grouping in enumerate(groupings):
            for g, name in enumerate(grouping.groups):
                chosen = images[of[:, column] == g][:most]
                if len(chosen):
                    yield grouping.name, name, chosen


def way(image: Any) -> str:
    """How an image of `CHANGED` changed: lost, gained, or wrong otherwise."""
    if image["label"] == image["dense"]:
        return LOST
    return GAINED if image["label"] == image["predicted"] else OTHERWISE


def exemplars(
    changed: ChangedImages, groupings: Sequence[NamedGroups], images: Images, classes: Sequence[str]
) -> Exemplars:
    """The images of each group that changed most plainly."""
    chosen = {
        (model, attribute, group): part
        for model in sorted(changed.found)
        for attribute, group, part in changed.by_group(model, groupings, images.groups, LISTED)
    }
    rows = sorted({int(row) for part in chosen.values() for row in part["row"]})
    files = dict(zip(rows, texts_of(images.manifest.files, rows), strict=True))

    def named(image: Any) -> Exemplar:
        label, dense, predicted = (classes[image[key]] for key in ("label", "dense", "predicted"))
        before, after = (None if np.isnan(image[key]) else float(image[key]) for key in ("before", "after"))
        return Exemplar(files[int(image["row"])], label, dense, predicted, before, after, way(image))

    return Exemplars(LISTED, {key: tuple(named(image) for image in part) for key, part in chosen.items()})


def changed_csv(
    found: Mapping[str, tuple[ChangedImages, Sequence[str]]], groupings: Sequence[NamedGroups], images: Images
) -> str:
    """A table of all images that changed: task, model, image, label, dense, predicted, before, after, way, attributes.

    Args:
        found: by task, with its classes.
    """
    columns = [
        "task", "model", "image", "label", "dense", "predicted", "before", "after", "way",
        *(f"{ATTRIBUTE}{grouping.name}" for grouping in groupings),
    ]  # fmt: skip
    rows: list[list[str]] = []
    names = [(*grouping.groups, "") for grouping in groupings]  # -1, in no group, is the last
    for task, (changed, classes) in found.items():
        for model in sorted(changed.found):
            of_model = changed.of(model)
            files = texts_of(images.manifest.files, of_model["row"].tolist())
            for image, file, groups in zip(of_model, files, images.groups[of_model["row"]], strict=True):
                rows.append([
                    task, model, file,
                    *(classes[image[key]] for key in ("label", "dense", "predicted")),
                    *("" if np.isnan(image[key]) else f"{image[key]:.4f}" for key in ("before", "after")), way(image),
                    *(of[g] for of, g in zip(names, groups, strict=True)),
                ])  # fmt: skip
    return written_csv(columns, rows)
