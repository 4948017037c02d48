"""`fairprune data`: write, check and count data sets, without torch."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairprune_cli.commands.counts_table import print_counts
from fairprune_cli.commands.flags import (
    Config,
    Force,
    Given,
    ImageSize,
    Json,
    Quiet,
    flags,
    names_of,
    resolved,
    size_of,
)
from fairprune_cli.commands.output import free, say_next, terminal_of
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.options import MOST_SEED, DataOptions

if TYPE_CHECKING:
    from fairprune_cli.data.manifest.asked import Asked
    from fairprune_cli.data.manifest.manifest import Manifest

_LISTED = 20  # findings of a kind that are shown as text
_ManifestArgument = Annotated[
    Path | None, typer.Argument(metavar="[MANIFEST]", help="manifest, or its folder; the same as --data")
]


def init_command(
    path: Annotated[Path, typer.Argument(help="table (CSV, Parquet) or folder of images")],
    out: Annotated[Path | None, typer.Option("--out", help="manifest to write [manifest.yaml beside it]")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="<name>", help="name of the data set")] = None,
    label: Annotated[str, typer.Option("--label", metavar="<column>", help="column to be predicted [guessed]")] = "",
    attr: Annotated[
        list[str] | None,
        typer.Option("--attr", metavar="<column,...>", help="columns of the groups, repeated or by comma"),
    ] = None,
    size: ImageSize = None,
    images: Annotated[Path | None, typer.Option("--images", help="folder that the image paths begin at")] = None,
    split_column: Annotated[str, typer.Option("--split-column", metavar="<column>", help="column of the splits")] = "",
    splits: Annotated[
        str, typer.Option("--splits", metavar="YAML", help="section `splits`, as '{names: {0: train, 1: test}}'")
    ] = "",
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Write a manifest for a table or a folder of images; what it guesses it says."""
    from fairprune_cli.data.manifest.asked import Asked

    asked = Asked(label, names_of(attr or ()), size_of(size), images, split_column, splits)
    terminal = terminal_of(quiet)
    written = init(path, out, name, force, asked, terminal)
    terminal.result(f"{written}: written")
    say_next(terminal, False, "data", "check", written)
    return int(ExitCode.OK)


@flags("manifest", "data", "config", "as_json", "quiet")
def check_command(
    given: Given,
    manifest: _ManifestArgument = None,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Check manifest, table and every image; needs no torch."""
    terminal, settings = terminal_of(quiet), resolved(config, _with_manifest(given, manifest)).settings
    code = check(settings, terminal, as_json)
    if code is ExitCode.OK:
        _say_train(terminal, as_json, settings)
    return int(code)


def sample_command(
    out: Annotated[Path, typer.Option("--out", help="folder to make")] = Path("sample"),
    seed: Annotated[
        int, typer.Option("--seed", metavar="<integer>", min=0, max=MOST_SEED, help="seed of the drawings")
    ] = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Write the embedded data set: drawn faces with expression, gender and age."""
    from fairprune_cli.core.locks import written_alone

    terminal = terminal_of(quiet)
    with written_alone(out):
        written = sample(out, seed, force, terminal)
    terminal.result(f"{written}: written")
    say_next(terminal, False, "data", "check", written)
    return int(ExitCode.OK)


@flags("manifest", "data", "attr", "split", "out", "force", "config", "as_json", "quiet")
def stats_command(
    given: Given,
    manifest: _ManifestArgument = None,
    split: Annotated[
        str | None, typer.Option("--split", metavar="<name>", help="split that the picture shows [train]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="picture to write: images per group and label (.png, .svg, .html)")
    ] = None,
    force: Force = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Counts per split, label and group, and with --out a picture of them; needs no torch."""
    terminal, settings = terminal_of(quiet), resolved(config, _with_manifest(given, manifest)).settings
    if out is None and split is not None:
        raise FairpruneError("says which split a picture shows, and none was asked for", where="--split",
                             hint="add --out groups.html, or leave it out")  # fmt: skip
    code = stats(settings, terminal, as_json, out, split or "train", force)
    _say_train(terminal, as_json, settings)
    return int(code)


def _say_train(terminal: Terminal, as_json: bool, settings: DataOptions) -> None:
    taken = ["--out", free("model.pt")] if Path("model.pt").exists() else []
    say_next(terminal, as_json, "train", "--arch", "resnet10", "--data", _found(settings), *taken)


def _with_manifest(given: Given, manifest: Path | None) -> Given:
    """The settings with the manifest that was named as an argument."""
    if manifest is None:
        return given
    if "data" in given:
        raise FairpruneError("the manifest is given twice", where=f"{manifest} and --data", hint="give it once")
    return given.beside(data=str(manifest))


def init(path: Path, out: Path | None, name: str | None, force: bool, asked: Asked, terminal: Terminal) -> Path:
    """Write the manifest of a table or folder; returns its path."""
    from fairprune_cli.core.files import atomic_write_text, refuse_no_room
    from fairprune_cli.data.manifest.load import init_manifest

    if not path.exists():
        raise FairpruneError("no such file or folder", where=str(path), hint="check the path")
    target = out or (path if path.is_dir() else path.parent) / "manifest.yaml"
    if target.exists() and not force:
        raise FairpruneError("already exists", where=str(target), hint="--force overwrites it, --out writes elsewhere")
    if out is not None:
        refuse_no_room(out)
    atomic_write_text(target, init_manifest(path, name=name, out=target, asked=asked, tell=terminal.note))
    return target


def _found(options: DataOptions) -> Path:
    from fairprune_cli.data.manifest.load import find_manifest

    return find_manifest(None if options.data is None else Path(options.data), None, None)


def _open(options: DataOptions, terminal: Terminal) -> Manifest:
    """The manifest as runs see it: without the images that it drops."""
    from fairprune_cli.data.images.duplicates import parted
    from fairprune_cli.data.manifest.load import load_manifest
    from fairprune_cli.data.manifest.manifest import DROP_COPIES

    with terminal.eventual_progress("reading the data") as progress:
        manifest = load_manifest(_found(options), progress)
    return parted(manifest) if manifest.duplicates == DROP_COPIES else manifest


def check(options: DataOptions, terminal: Terminal, as_json: bool) -> ExitCode:
    """Check everything, images included; findings are listed with file and row, and errors among them give 2."""
    from fairprune_cli.data.checks import check as checking
    from fairprune_cli.data.checks import images as findings

    path = _found(options)
    with terminal.eventual_progress("reading the data") as reading, ExitStack() as shown:
        display = None

        def on_progress(done: int, total: int) -> None:
            nonlocal display
            display = display or shown.enter_context(terminal.progress("checking images", total))
            display.update(done, total=total)

        checked = checking.check_data(path, on_progress, reading)
    errors, warnings = checked.count(findings.ERROR), checked.count(findings.WARNING)
    if as_json:
        terminal.json(json.dumps(checked.document(), indent=2, ensure_ascii=False, allow_nan=False))
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
    from fairprune_cli.core.files import refuse_no_room
    from fairprune_cli.data.drawn_faces.write import write_sample

    refuse_no_room(out)
    with terminal.progress("drawing faces", None) as display:

        def on_progress(done: int, total: int) -> None:
            display.update(done, total=total)

        return write_sample(out, seed=seed, force=force, progress=on_progress)


def stats(
    options: DataOptions,
    terminal: Terminal,
    as_json: bool,
    out: Path | None = None,
    split: str = "train",
    force: bool = False,
) -> ExitCode:
    """Counts per split, label and group; with `out` also a picture of some images of each in a split."""
    from fairprune_cli.core.files import refuse_no_room
    from fairprune_cli.data.checks import gallery

    if out is not None:
        refuse_no_room(out)
    manifest = _open(options, terminal)
    for text in manifest.warnings:
        terminal.warn(text, code="manifest")
    if out is not None:
        shown = gallery.draw(manifest, split, options.attr or None)
        gallery.write_gallery(shown, out, f"{manifest.name}: {split}", force)
        for file in shown.faulty:
            terminal.warn(f"{file} cannot be decoded; see `fairprune data check`", code="image")
        terminal.note(f"written: {out}")
    by_task = {task.name: manifest.of_task(task.name).counts(options.attr or None) for task in manifest.tasks}
    if as_json:
        document: dict[str, Any] = {"manifest": str(manifest.path), "splits": by_task[manifest.tasks[0].name]}
        if len(by_task) > 1:
            document["tasks"] = by_task
        terminal.json(json.dumps(document, indent=2, ensure_ascii=False))
        return ExitCode.OK
    for task in manifest.tasks:
        title = f"{manifest.name}: images per split, group and label{f' of {task.name}' if task.name else ''}"
        print_counts(title, by_task[task.name], list(task.classes), terminal)
    return ExitCode.OK
