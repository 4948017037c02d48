"""Images whose prediction changes most often over the seeds: compression-identified exemplars.

Hooker et al. (arXiv 1911.05248, 2010.03058) call an image an exemplar where the class that most of the pruned models
predict is not the one that most of the dense models predict. Here the pruned models are the seeds of one row, and the
dense model is the one that all of them come from; of equally frequent classes the dense model's counts. Where each seed
has a dense model of its own, the run folders do not say what those predict on images that did not change, so that
only how often an image changed is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairprune_cli.audit.changed_images import ATTRIBUTE
from fairprune_cli.audit.churn import over_representation
from fairprune_cli.compare.grid import value_text
from fairprune_cli.core.csv_text import read_csv, written_csv
from fairprune_cli.run.folder import EXEMPLARS

OWN_DENSE = "each seed has a dense model of its own"
LISTED = 20  # images of a row that compare.json names; the table has all
Record = dict[str, Any]


@dataclass
class _Image:
    """An image that changed in `predicted`.total() of the seeds."""

    task: str
    image: str
    label: str
    dense: str
    groups: Mapping[str, str]
    predicted: Counter[str]

    def mode(self, seeds: int) -> str:
        """The class that most of the seeds predict; those in which it did not change predict the dense model's."""
        times = Counter({self.dense: seeds - self.predicted.total()}) + self.predicted
        most = max(times.values())
        return self.dense if times[self.dense] == most else min(name for name in times if times[name] == most)


def of_row(folders: Sequence[Path], reports: Sequence[Mapping[str, Any]], per_seed: bool, confidence: float) -> Record:
    """What the seeds of one row changed.

    Args:
        folders: run folders of the cells that are done, and their reports.
        per_seed: whether each seed has a dense model of its own.
        confidence: of the intervals of the groups' shares.

    Returns:
        seeds, changed (images in at least one seed), exemplars (or null and `exemplars_undefined`), attributes: by name
        and group n, images, share, low, high and representation; images: those that changed most often, and `table`,
        lines for the file of all. Null with `exemplars_undefined` where a run folder has no table of changed images.
    """
    tables = [folder / EXEMPLARS for folder in folders]
    if not tables or not all(table.is_file() for table in tables):
        return {"seeds": len(tables), "exemplars": None, "exemplars_undefined": f"a run folder lacks {EXEMPLARS}"}
    found, seeds = _read(tables, per_seed), len(tables)
    images = sorted(found.values(), key=lambda one: (-one.predicted.total(), one.task, one.image))
    chosen = [one for one in images if per_seed or one.mode(seeds) != one.dense]
    record: Record = {"seeds": seeds, "changed": len(images), "exemplars": None if per_seed else len(chosen)}
    if per_seed:
        record["exemplars_undefined"] = OWN_DENSE
    record["attributes"] = _attributes(chosen, reports[0], confidence)
    lines = [_line(one, seeds, per_seed) for one in images]
    listed = [line for line in lines if line["exemplar"] is not False]
    return record | {"images": listed[:LISTED], "table": lines}


def _read(tables: Sequence[Path], per_seed: bool) -> dict[tuple[str, str], _Image]:
    found: dict[tuple[str, str], _Image] = {}
    for table in tables:
        for line in read_csv(table, ("task", "image", "label", "dense", "predicted")):
            groups = {k.removeprefix(ATTRIBUTE): v for k, v in line.items() if k.startswith(ATTRIBUTE)}
            dense = "" if per_seed else line["dense"]
            made = _Image(line["task"], line["image"], line["label"], dense, groups, Counter())
            found.setdefault((line["task"], line["image"]), made).predicted[line["predicted"]] += 1
    return found


def _attributes(chosen: Sequence[_Image], report: Mapping[str, Any], confidence: float) -> Record:
    """Each group's share of the images, of the first task where there are several, beside its share of all."""
    first = report.get("task", "")
    found: Record = {}
    for attribute, entry in report["results"]["pruned"]["attributes"].items():
        names = list(entry["groups"])
        seen = Counter(one.groups.get(attribute) for one in chosen if not first or one.task == first)
        counts = np.array([seen[name] for name in names], np.int64)
        sizes = np.array([entry["groups"][name]["n"] for name in names], np.int64)
        shares = over_representation(counts, sizes, confidence)
        found[attribute] = {
            name: {
                "n": int(size), "images": int(count), "share": part.value, "low": part.low, "high": part.high,
                "representation": times.value, "representation_low": times.low, "representation_high": times.high,
            } | ({} if part.value is not None else {"share_undefined": part.why})
            | ({} if times.value is not None else {"representation_undefined": times.why})
            for name, size, count, part, times in zip(names, sizes, counts, *shares, strict=True)
        }  # fmt: skip
    return found


def _line(one: _Image, seeds: int, per_seed: bool) -> Record:
    mode = one.mode(seeds)
    return {
        "task": one.task, "image": one.image, "label": one.label, "dense": None if per_seed else one.dense,
        "predicted": None if per_seed else mode, "changed_in": one.predicted.total(),
        "exemplar": None if per_seed else mode != one.dense, "groups": dict(one.groups),
    }  # fmt: skip


def exemplars_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """All images that changed, by row; the rows' records have their `table`."""
    lines = []
    for row in rows:
        found = row.get("exemplars") or {}
        for line in found.get("table", ()):
            grid = " ".join(f"{key}={value_text(value)}" for key, value in row["grid"].items())
            own = {
                "method": row["method"],
                "granularity": row["granularity"],
                "sparsity": row["sparsity"],
                "grid": grid,
            }
            plain = {key: value for key, value in line.items() if key != "groups"}
            lines.append(own | plain | {"seeds": found["seeds"]})
            lines[-1] |= {f"{ATTRIBUTE}{name}": group for name, group in line["groups"].items()}
    return written_csv(list(dict.fromkeys(name for line in lines for name in line)), lines)
