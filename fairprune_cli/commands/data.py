"""`fairprune data`: write, check and count data sets, without torch."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.settings import Settings
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.checks import check as checking
from fairprune_cli.data.checks import gallery
from fairprune_cli.data.checks import images as findings
from fairprune_cli.data.drawn_faces.write import write_sample
from fairprune_cli.data.images import cache_store
from fairprune_cli.data.manifest.find import Manifest, find_manifest, init_manifest, load_manifest

_LISTED = 20  # findings of a kind that are shown as text


def init(path: Path, out: Path | None, name: str | None, force: bool) -> Path:
    """Write the manifest of a table or folder; returns its path."""
    target = out or (path if path.is_dir() else path.parent) / "manifest.yaml"
    if target.exists() and not force:
        raise FairpruneError("already exists", where=str(target), hint="--force overwrites it, --out writes elsewhere")
    atomic_write_text(target, init_manifest(path, name=name, out=target))
    return target


def _open(settings: Settings) -> Manifest:
    return load_manifest(find_manifest(None if settings.data is None else Path(settings.data), None, None))


def check(settings: Settings, terminal: Terminal, as_json: bool) -> ExitCode:
    """Check everything, images included; findings are listed with file and row, and errors among them give 2."""
    path = find_manifest(None if settings.data is None else Path(settings.data), None, None)
    with terminal.progress("checking images", 1) as display:

        def on_progress(done: int, total: int) -> None:
            display.total = total
            display.update(done)

        checked = checking.check_data(path, on_progress)
    errors, warnings = checked.count(findings.ERROR), checked.count(findings.WARNING)
    if as_json:
        terminal.result(json.dumps(checked.document(), indent=2, ensure_ascii=False, allow_nan=False))
        return ExitCode.BAD_INPUT if errors else ExitCode.OK
    say = {findings.ERROR: terminal.error, findings.WARNING: terminal.warn, findings.NOTE: terminal.note}
    told: Counter[tuple[str, str]] = Counter()
    for finding in checked.findings:
        kind = (finding.severity, finding.code)
        told[kind] += 1
        if told[kind] <= _LISTED:
            say[finding.severity](finding.line())
    for (severity, code), n in told.items():
        if n > _LISTED:
            say[severity](f"{n - _LISTED:,} more findings of the kind {code}; --json lists them all")
    for one in checked.associations:
        if not one.notable:
            terminal.note(one.text)
    counts = [f"{n:,} {what}{'s' if n > 1 else ''}" for n, what in ((errors, "error"), (warnings, "warning")) if n]
    verdict = ", ".join(counts) if errors else f"sound, {counts[0]}" if counts else "all sound"
    terminal.result(f"{checked.manifest}: {checked.images} images, {verdict}")
    return ExitCode.BAD_INPUT if errors else ExitCode.OK


def sample(out: Path, seed: int, force: bool, terminal: Terminal) -> Path:
    """Write the embedded data set; returns its manifest."""
    with terminal.progress("drawing faces", 1) as display:

        def on_progress(done: int, total: int) -> None:
            display.total = total
            display.update(done)

        return write_sample(out, seed=seed, force=force, progress=on_progress)


def cache(clear: bool, terminal: Terminal, as_json: bool) -> ExitCode:
    """What the cache of decoded images holds, or, with `clear`, what was removed from it."""
    limit = cache_store.limit()
    entries = cache_store.clear_cache() if clear else cache_store.entries()
    total = sum(entry.bytes for entry in entries)
    document = {
        "folder": str(cache_store.root()), "limit": limit, "bytes": 0 if clear else total,
        "entries": [] if clear else [entry.document() for entry in entries],
        "removed": [entry.document() for entry in entries] if clear else [],
    }  # fmt: skip
    if as_json:
        terminal.result(json.dumps(document, indent=2, ensure_ascii=False))
        return ExitCode.OK
    if clear:
        terminal.result(f"{cache_store.root()}: {len(entries)} entries removed, {total / 1e6:,.1f} MB")
        return ExitCode.OK
    rows = [
        [entry.name or entry.folder.name, f"{entry.images:,}", str(entry.side), f"{entry.bytes / 1e6:,.1f}",
         time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))]
        for entry in reversed(entries)
    ]  # fmt: skip
    if rows:
        terminal.table("decoded images, last used first", ["data set", "images", "side", "MB", "used"], rows)
    terminal.result(f"{cache_store.root()}: {total / 1e6:,.1f} MB of at most {limit / 1e6:,.0f} MB")
    return ExitCode.OK


def stats(
    settings: Settings,
    terminal: Terminal,
    as_json: bool,
    out: Path | None = None,
    split: str = "train",
    force: bool = False,
) -> ExitCode:
    """Counts per split, label and group; with `out` also a picture of some images of each in a split."""
    manifest = _open(settings)
    counts = manifest.counts(settings.attr or None)
    if out is not None:
        shown = gallery.draw(manifest, split, settings.attr or None)
        gallery.write_gallery(shown, out, f"{manifest.name}: {split}", force)
        for file in shown.faulty:
            terminal.warn(f"{file} cannot be decoded; see `fairprune data check`", code="image")
        terminal.note(f"written: {out}")
    if as_json:
        terminal.result(json.dumps({"manifest": str(manifest.path), "splits": counts}, indent=2, ensure_ascii=False))
        return ExitCode.OK
    classes = list(manifest.classes)
    rows: list[list[str]] = []
    for split, part in counts.items():
        rows.append(_row(f"{split}: all", part, classes))
        for attribute, groups in part["attributes"].items():
            rows += [_row(f"  {attribute} = {group}", entry, classes) for group, entry in groups.items()]
    terminal.table(f"{manifest.name}: images per split, group and label", ["", "images", *classes], rows)
    return ExitCode.OK


def _row(name: str, entry: dict[str, Any], classes: list[str]) -> list[str]:
    return [name, f"{entry['n']:,}", *(f"{entry['labels'].get(label, 0):,}" for label in classes)]
