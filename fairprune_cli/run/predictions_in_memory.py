"""Predictions that were made elsewhere and are at hand in Python: written down as the table that the audit reads."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairprune_cli.audit.predictions import PREDICTED
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import temporary_folder
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.load import Manifest, find_manifest, load_manifest
from fairprune_cli.run.audit_predictions import (
    PredictionsRequest,
    audit_predictions,
    idle_settings,
    refuse_idle_settings,
)
from fairprune_cli.run.audit_report import Outcome
from fairprune_cli.run.options import Resolved

NAME, DENSE_NAME = "predictions (in memory)", "dense predictions (in memory)"


def are_predictions(given: Any) -> bool:
    """Whether they are predictions: a mapping, or a data frame."""
    return isinstance(given, Mapping) or hasattr(given, "to_csv")


def audit_in_memory(
    predictions: Any, against: Any, resolved: Resolved, out: Path | None, force: bool, terminal: Terminal
) -> Outcome:
    """What `audit --predictions` does, of predictions in memory.

    Args:
        predictions: image -> name of a class, image -> a score for each class, a mapping of columns as the table has
            them, or a data frame of these columns; every image of the split has to be there.
        against: those of the dense model, or None.

    Raises:
        FairpruneError: as `audit_predictions`, or they are of none of these kinds.
    """
    settings = resolved.settings
    refuse_idle_settings(idle_settings([key for key, source in resolved.sources.items() if source == "flag"]))
    data = find_manifest(None if settings.data is None else Path(settings.data), None, None)
    manifest = load_manifest(data, images=False)
    with temporary_folder() as folder, _named(folder):
        table = _written(predictions, folder / f"{NAME}.csv", manifest)
        dense = None if against is None else _written(against, folder / f"{DENSE_NAME}.csv", manifest)
        request = PredictionsRequest(table, resolved, dense, out, force, in_memory=True)
        return audit_predictions(request, terminal)


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Faults of the tables are told of what was given, whose place nobody knows."""
    try:
        yield
    except FairpruneError as error:
        where = Path(error.where) if error.where else None
        if where is None or where.parent != folder:
            raise
        what = error.what
        for name in (DENSE_NAME, NAME):  # the longer one first, as it holds the other
            what = what.replace(str(folder / f"{name}.csv"), f"the {name}").replace(f"{name}.csv", name)
        raise FairpruneError(what, where=where.stem, hint=error.hint, code=error.code) from error


def _written(given: Any, path: Path, manifest: Manifest) -> Path:
    if hasattr(given, "to_csv"):
        given.to_csv(path, index=False)
        return path
    if not isinstance(given, Mapping):
        raise FairpruneError(
            f"is {type(given).__name__}, and the other side is predictions", where=path.stem,
            hint="give a mapping from images to what is predicted of them, or a data frame",
        )  # fmt: skip
    image = manifest.image_column
    found = given if _are_columns(given, image) else _columns(given, image, manifest.classes, path.stem)
    columns = {name: cells.tolist() if hasattr(cells, "tolist") else list(cells) for name, cells in found.items()}
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} {n:,}" for name, n in lengths.items())
        raise FairpruneError(f"columns of different lengths: {told}", where=path.stem, hint="give a cell for each row")
    # Half a character, as in a path that is not UTF-8, is for the reader of the table to refuse, with its row.
    with path.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(map(_cell, cells) for cells in columns.values()), strict=True))
    return path


def _are_columns(given: Mapping[Any, Any], image: str) -> bool:
    """Whether the keys are names of columns, and not of images."""
    return image in given and not isinstance(given[image], str) and hasattr(given[image], "__len__")


def _columns(given: Mapping[Any, Any], image: str, classes: Sequence[str], where: str) -> dict[str, list[Any]]:
    """The columns of a mapping from images to a class or scores, all of one kind."""
    if not any(map(_has_parts, given.values())):
        return {image: list(given), PREDICTED: list(given.values())}
    scores = [_scores(name, value, classes, where) for name, value in given.items()]
    return {image: list(given)} | {label: [row[number] for row in scores] for number, label in enumerate(classes)}


def _has_parts(value: Any) -> bool:
    return not isinstance(value, str | bytes) and hasattr(value, "__len__")


def _scores(name: Any, value: Any, classes: Sequence[str], where: str) -> list[float]:
    """The scores of an image in the order of the classes, whose names a mapping has as its keys."""
    has = f"{len(value)} scores" if _has_parts(value) else "no scores"
    if _has_parts(value) and len(value) == len(classes):
        try:
            if isinstance(value, Mapping):
                named = {str(label): score for label, score in value.items()}
                return [float(named[label]) for label in classes]
            return [float(value[number]) for number in range(len(classes))]
        except (TypeError, ValueError, KeyError, RuntimeError):  # torch raises the last
            has = f"{str(value)[:60]!r}, which is no row of scores"
    raise FairpruneError(
        f"{name!r} has {has}, and there are {len(classes)} classes",
        where=where, hint=f"give each image a score for {', '.join(classes[:6])}, in this order",
    )  # fmt: skip


def _cell(value: Any) -> str:
    if hasattr(value, "item"):  # a number of numpy or torch, whose text names its type
        value = value.item()
    return repr(value) if isinstance(value, float) else str(value)
