"""`data check`: every finding about a manifest, its tables and its images, at once; without torch."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairprune_cli.core.errors import Problems
from fairprune_cli.core.parallel import Progress
from fairprune_cli.data.checks.association import Association, associate
from fairprune_cli.data.checks.images import ERROR, NOTE, WARNING, Finding, look_at_images
from fairprune_cli.data.images.duplicates import WAYS_OUT, shared_images, without
from fairprune_cli.data.manifest.load import examine_manifest
from fairprune_cli.data.manifest.manifest import DROP_COPIES, Grouping, Manifest
from fairprune_cli.data.options import LEAST_IMAGES
from fairprune_cli.data.tables.image_names import is_image_file
from fairprune_cli.data.tables.image_paths import MANY_FAULTS
from fairprune_cli.data.tables.spellings import alike_names
from fairprune_cli.data.tables.table import SPLITS

_SHOWN = 4


@dataclass(frozen=True)
class Checked:
    """What `data check` says of a manifest."""

    manifest: Path
    images: int
    findings: tuple[Finding, ...]
    associations: tuple[Association, ...]
    sizes: dict[str, Any] | None  # of the images that can be decoded

    def count(self, severity: str) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    def document(self) -> dict[str, Any]:
        """For `--json`; `warnings` are the texts of that severity."""
        return {
            "manifest": str(self.manifest), "images": self.images, "errors": self.count(ERROR),
            "warnings": [finding.line() for finding in self.findings if finding.severity == WARNING],
            "findings": [finding.document() for finding in self.findings],
            "associations": [one.document() for one in self.associations], "sizes": self.sizes,
        }  # fmt: skip


def check_data(path: Path, progress: Progress | None = None, reading: Progress | None = None) -> Checked:
    """Examine the manifest at `path` and decode every image that can be.

    Args:
        progress: called with (images done, images in all); reading: as for `load_manifest`, before.

    Raises:
        FairpruneError: the manifest cannot be read at all.
    """
    problems = Problems(str(path), every=True)
    manifest = examine_manifest(path, problems, reading)
    findings = [Finding.of(problem) for problem in problems.found]
    if manifest is None or any(problem.code == MANY_FAULTS for problem in problems.found):
        findings += [Finding.of(note, NOTE) for note in problems.notes]
        return Checked(path, 0, tuple(findings), (), None)
    alike = _alike(manifest)
    findings += [
        Finding("alike-groups" if text in alike else "manifest", text, "", 0, WARNING, True)
        for text in manifest.warnings
    ]  # fmt: skip
    known = {p.file for p in problems.found if p.code in ("missing", "outside", "path", "doubled")}
    looked = look_at_images(manifest, progress, known)
    findings += looked.findings
    if any(finding.code == "duplicate-across-splits" and finding.severity == ERROR for finding in findings):
        findings.append(Finding("duplicates", f"of images in two splits: {WAYS_OUT}", "", 0, NOTE, True))
    findings += _unnamed(manifest)
    if manifest.duplicates == DROP_COPIES:
        manifest = without(manifest, shared_images(manifest, looked.hashes))
    several = len(manifest.tasks) > 1
    associations: tuple[Association, ...] = ()
    for task in manifest.tasks:
        if (task.labels < 0).any():
            continue  # what is counted without those labels would only follow from that error
        alone = manifest.of_task(task.name)
        label = f"label of {task.name}" if several else "label"
        if (manifest.splits >= 0).all():
            findings += [f for grouping in manifest.attributes.values() for f in _cells(alone, grouping, label)]
        associations += tuple(_associate(alone, grouping, task.name) for grouping in manifest.attributes.values())
    findings += [Finding("association", one.text, "", 0, WARNING, True) for one in associations if one.notable]
    findings += [Finding.of(note, NOTE) for note in problems.notes]
    order = (ERROR, WARNING, NOTE)
    findings.sort(key=lambda finding: order.index(finding.severity))
    return Checked(path, len(manifest), tuple(findings), associations, _sizes(looked.sizes))


def _unnamed(manifest: Manifest) -> list[Finding]:
    """Images beside those of the manifest that no row names: a table that lost rows looks like this."""
    if manifest.shards is not None:
        count, example = manifest.shards.unnamed
        return _without_rows(count, "in the shards", example)
    named = set(manifest.files)
    folders = {file.rpartition("/")[0] for file in manifest.files}
    found: list[str] = []
    for folder in sorted(folders):
        if ".." in folder.split("/") or folder.startswith("/"):
            continue
        with contextlib.suppress(OSError, ValueError):
            place = os.path.join(manifest.root, folder)
            others = [name for name in os.listdir(place) if (f"{folder}/{name}" if folder else name) not in named]
            found += [f"{folder}/{name}" if folder else name for name in others if is_image_file(place, name)]
    return _without_rows(len(found), "beside those of the manifest", min(found, default=""))


def _without_rows(count: int, where: str, example: str) -> list[Finding]:
    if not count:
        return []
    said = f"{count:,} images {where} have" if count > 1 else f"1 image {where} has"
    return [Finding("unnamed", f"{said} no row, as {example!r}", example, 0, WARNING, True)]


def _alike(manifest: Manifest) -> set[str]:
    """The warnings of a manifest that are about groups or classes whose names may be one."""
    groupings = [(one.name, one.groups, one.index) for one in manifest.attributes.values()]
    labels = [(f"tasks.{t.name}.label" if t.name else "label", t.classes, t.labels) for t in manifest.tasks]
    return {text for one in (*groupings, *labels) for text in alike_names(*one)}


def _cells(manifest: Manifest, grouping: Grouping, label: str) -> list[Finding]:
    """Combinations of label and group with few images, but for those of which the whole class or group was named."""
    found = []
    no_image = np.bincount(manifest.labels, minlength=len(manifest.classes)) == 0
    for code, split in enumerate(SPLITS):
        chosen = manifest.splits == code
        counts = _counts(manifest, grouping, chosen)
        if not chosen.any() or not counts.size or counts.min() >= LEAST_IMAGES:
            continue
        untested = (counts.sum(1) == 0) & (split == "test")
        told = untested[:, None] | no_image[None, :]
        cells = sorted((int(n), g, k) for (g, k), n in np.ndenumerate(counts) if n < LEAST_IMAGES and not told[g, k])
        if not cells:
            continue
        named = [f"{grouping.groups[g]} x {manifest.classes[k]} {n}" for n, g, k in cells]
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        empty = sum(n == 0 for n, _, _ in cells)
        none = f", {empty} of them none" if empty else ""
        text = (
            f"{split}: {len(cells)} of {counts.size} combinations of {grouping.name} and {label} have fewer than "
            f"{LEAST_IMAGES} images{none}: {', '.join(named[:_SHOWN])}{more}"
        )
        found.append(Finding("empty-cell" if empty else "small-cell", text, "", 0, WARNING, True))
    return found


def _counts(manifest: Manifest, grouping: Grouping, chosen: np.ndarray) -> np.ndarray:
    """Images per group and class among the chosen rows, int64 [G, K]."""
    size = len(manifest.classes)
    held = chosen & (grouping.index >= 0) & (manifest.labels >= 0)
    cells = grouping.index[held] * size + manifest.labels[held]
    return np.bincount(cells, minlength=len(grouping.groups) * size).reshape(len(grouping.groups), size)


def _associate(manifest: Manifest, grouping: Grouping, task: str) -> Association:
    counts = _counts(manifest, grouping, np.ones(len(manifest), dtype=bool))
    name = f"{task}: {grouping.name}" if task else grouping.name
    return associate(name, grouping.groups, manifest.classes, counts)


def _sizes(sizes: np.ndarray) -> dict[str, Any] | None:
    held = sizes[sizes[:, 0] > 0]
    if not len(held):
        return None
    distinct, counts = np.unique(held, axis=0, return_counts=True)
    return {
        "least": held.min(0).tolist(), "median": [int(v) for v in np.median(held, axis=0)],
        "largest": held.max(0).tolist(), "distinct": len(distinct), "most": distinct[counts.argmax()].tolist(),
    }  # fmt: skip
