"""Typer commands: flags -> settings -> pipeline -> exit code; nothing else.

Heavy modules are imported inside the commands, so that --help does not wait for torch.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fairprune_cli import __version__
from fairprune_cli.audit.policy import with_policy
from fairprune_cli.core import errors
from fairprune_cli.core import plugins as registry
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.launch import is_first
from fairprune_cli.core.settings import CONFIG_FILE, FIELDS, Resolved, resolve
from fairprune_cli.core.terminal import Terminal

app = typer.Typer(
    name="fairprune", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make a trained image classifier several times smaller without making it unfairer.",
)  # fmt: skip
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Manifests and data sets.")
app.add_typer(data_app, name="data")

# Settings whose values are the files of a folder.
PLUG_INS = {
    "method": "fairprune_cli.pruning.methods",
    "notion": "fairprune_cli.fairness.notions",
    "relaxation": "fairprune_cli.fairness.relaxations",
}  # fmt: skip


def _text(name: str) -> str:
    field = FIELDS[name]
    choices = registry.names(PLUG_INS[name]) if name in PLUG_INS else field.metadata["choices"]
    default = "" if field.default in (None, ()) else f" [{field.default}]"
    return field.metadata["text"] + (f" ({', '.join(choices)})" if choices else "") + default


def _flag(name: str, *spellings: str) -> Any:
    return typer.Option(*(spellings or ("--" + name.replace("_", "-"),)), help=_text(name), show_default=False)


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="checkpoint, model.safetensors or run folder")]
Data = Annotated[str | None, _flag("data")]
Config = Annotated[Path | None, typer.Option("--config", help="settings file [fairprune.yaml here, if any]")]
Seed = Annotated[str | None, _flag("seed")]
Device = Annotated[str | None, _flag("device")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress, no notes")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="check everything and say what would be done")]
Attr = Annotated[list[str] | None, _flag("attr")]
Arch = Annotated[str | None, _flag("arch")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any other setting; see docs")]
Out = Annotated[Path | None, typer.Option("--out", help="where to write")]
Force = Annotated[bool, typer.Option("--force", help="overwrite what is there")]
Trust = Annotated[bool, typer.Option("--trust-checkpoint", help="really unpickle the file: it may run code")]
MaxGap = Annotated[str | None, _flag("max_gap")]
MaxDegradation = Annotated[str | None, _flag("max_degradation")]
MinAccuracy = Annotated[str | None, _flag("min_accuracy")]
MinGroup = Annotated[str | None, _flag("min_group")]
Confidence = Annotated[str | None, _flag("confidence")]
Compile = Annotated[bool | None, typer.Option("--compile", help=_text("compile"))]
PointEstimate = Annotated[bool | None, typer.Option("--point-estimate", help=_text("point_estimate"))]
Notion = Annotated[str | None, _flag("notion")]
PolicyFile = Annotated[str | None, _flag("policy")]
Examples = Annotated[str | None, _flag("show_examples")]
Track = Annotated[str | None, _flag("track")]
Split = Annotated[str | None, _flag("split")]
Epochs = Annotated[str | None, _flag("epochs")]
BatchSize = Annotated[str | None, _flag("batch_size")]
Lr = Annotated[str | None, _flag("lr")]


def _settings(config: Path | None, flags: dict[str, Any]) -> Resolved:
    file = config if config is not None else Path(CONFIG_FILE) if Path(CONFIG_FILE).exists() else None
    if config is not None and not config.is_file():
        raise FairpruneError("no such file", where=str(config), hint="check --config")
    return with_policy(resolve(_given(flags), os.environ, file))


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    """Flags that were given, the pairs of --set among them."""
    given = {k: v for k, v in flags.items() if k in FIELDS and v is not None}
    for pair in flags.get("extra") or ():
        key, sign, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not sign:
            raise FairpruneError(f"{pair!r} is not KEY=VALUE", where="--set", hint="for example --set rho=0.1")
        if key not in FIELDS:
            raise FairpruneError(f"unknown key {key!r}", where="--set", hint=errors.nearest(key, FIELDS))
        if key in given:
            raise FairpruneError(f"{key} is given twice", where="--set", hint="give it once")
        given[key] = {"true": True, "false": False}.get(value.lower(), value)
    return given


def _terminal(quiet: bool) -> Terminal:
    if not is_first():
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - of several processes the first one talks
        return Terminal(nowhere, nowhere, quiet=True)
    return Terminal(quiet=quiet)


def _print_json(terminal: Terminal, document: Any) -> None:
    terminal.result(json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False))


def _tell(report: dict[str, Any], folder: Path | None, terminal: Terminal) -> None:
    """Tell the tracker and the pipeline's runner, where there are such; of several processes the first one does."""
    if not is_first():
        return
    from fairprune_cli.report import github_actions as github
    from fairprune_cli.report import mlflow as tracking

    tracking.track(report, folder, terminal)
    github.annotate(report, os.environ, terminal)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairprune {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """Prune, audit and export image classifiers under fairness constraints."""


@app.command()
def prune(
    model: Annotated[Path | None, typer.Argument(metavar="MODEL", help="dense checkpoint or run folder")] = None,
    sparsity: Annotated[str | None, _flag("sparsity")] = None,
    attr: Attr = None,
    method: Annotated[str | None, _flag("method")] = None,
    granularity: Annotated[str | None, _flag("granularity")] = None,
    sparsity_of: Annotated[str | None, _flag("sparsity_of")] = None,
    round_to: Annotated[str | None, _flag("round_to")] = None,
    store: Annotated[str | None, _flag("store")] = None,
    fairness_on: Annotated[str | None, _flag("fairness_on")] = None,
    mask_step: Annotated[str | None, _flag("mask_step")] = None,
    notion: Notion = None,
    relaxation: Annotated[str | None, _flag("relaxation")] = None,
    tolerance: Annotated[str | None, _flag("tolerance")] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Lr = None,
    precision: Annotated[str | None, _flag("precision")] = None,
    compile: Compile = None,
    upper_every: Annotated[str | None, _flag("upper_every")] = None,
    extra: Set = None,
    out: Out = None,
    resume: Annotated[Path | None, typer.Option("--resume", help="run folder to continue")] = None,
    force: Force = False,
    max_gap: MaxGap = None,
    max_degradation: MaxDegradation = None,
    min_accuracy: MinAccuracy = None,
    min_group: MinGroup = None,
    confidence: Confidence = None,
    point_estimate: PointEstimate = None,
    policy: PolicyFile = None,
    show_examples: Examples = None,
    track: Track = None,
    split: Split = None,
    data: Data = None,
    arch: Arch = None,
    trust: Trust = False,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> int:
    """Prune a model under a fairness constraint, audit it, and write a run folder."""
    flags = dict(locals())
    terminal = _terminal(quiet)
    if resume is not None:
        refused = [n for n, v in (("MODEL", model), ("--out", out), ("--config", config)) if v is not None]
        refused += [n for n, v in (("--force", force), ("--dry-run", dry_run)) if v]
        if refused:
            raise FairpruneError(f"{', '.join(refused)} cannot go with it", where="--resume", hint="leave them out")
        from fairprune_cli.run import prune as pipeline

        outcome = pipeline.resume(resume, _given(flags), terminal)
    else:
        if model is None:
            raise FairpruneError("no model was given", where="MODEL", hint="fairprune prune model.pt --attr gender")
        resolved = _settings(config, flags)
        from fairprune_cli.run import prune as pipeline

        outcome = pipeline.prune(pipeline.PruneRequest(model, resolved, out, force, trust, dry_run), terminal)
    if not dry_run:
        _tell(outcome.report, outcome.folder, terminal)
    if as_json:
        _print_json(terminal, outcome.report)
    elif dry_run:
        from fairprune_cli.report import console as summary

        summary.print_plan(outcome.report, terminal)
    else:
        from fairprune_cli.report import console as summary

        summary.print_report(outcome.report, terminal, outcome.folder)
    return int(outcome.code)


@app.command()
def audit(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="checkpoints, model files or run folders")],
    against: Annotated[Path | None, typer.Option("--against", help="dense model to compare with")] = None,
    attr: Attr = None,
    notion: Notion = None,
    max_gap: MaxGap = None,
    max_degradation: MaxDegradation = None,
    min_accuracy: MinAccuracy = None,
    min_group: MinGroup = None,
    confidence: Confidence = None,
    point_estimate: PointEstimate = None,
    policy: PolicyFile = None,
    show_examples: Examples = None,
    track: Track = None,
    split: Split = None,
    batch_size: BatchSize = None,
    extra: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder for report.json, .html and .md")] = None,
    force: Force = False,
    data: Data = None,
    arch: Arch = None,
    trust: Trust = False,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> int:
    """Accuracy and gaps per group of one model or several, with intervals; with gates, a verdict and an exit code."""
    flags = dict(locals())
    terminal = _terminal(quiet)
    resolved = _settings(config, flags)
    from fairprune_cli.commands import audit as auditing
    from fairprune_cli.report import console as summary

    request = auditing.AuditRequest(tuple(models), resolved, against, out, force, trust, dry_run)
    outcome = auditing.audit(request, terminal)
    if not dry_run:
        _tell(outcome.report, outcome.folder, terminal)
    if as_json:
        _print_json(terminal, outcome.report)
    elif dry_run:
        summary.print_plan(outcome.report, terminal)
    else:
        summary.print_report(outcome.report, terminal, outcome.folder)
    return int(outcome.code)


@app.command()
def compare(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="dense checkpoint; {seed} in it is each seed in turn")],
    methods: Annotated[str, typer.Option("--methods", metavar="A,B", help="methods to compare")],
    sparsities: Annotated[str, typer.Option("--sparsities", metavar="S,T", help="sparsities to compare them at")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="how many seeds, from --seed on")] = 5,
    granularities: Annotated[
        str, typer.Option("--granularities", metavar="A,B", help="any of channel, weight and 2:4")
    ] = "channel",
    grid: Annotated[
        list[str] | None, typer.Option("--grid", metavar="KEY=V1,V2", help="settings to vary; repeated, their product")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", help="method that the others are held against [magnitude, or the first]"),
    ] = None,
    gather: Annotated[bool, typer.Option("--gather", help="tables of what is there; compute nothing")] = False,
    list_commands: Annotated[
        bool, typer.Option("--list-commands", help="print a shell command per cell that is not done, and stop")
    ] = False,
    attr: Attr = None,
    notion: Notion = None,
    tolerance: Annotated[str | None, _flag("tolerance")] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Lr = None,
    extra: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder [runs/compare-MODEL]")] = None,
    force: Annotated[bool, typer.Option("--force", help="compute cells again that were made otherwise")] = False,
    confidence: Confidence = None,
    split: Split = None,
    data: Data = None,
    arch: Arch = None,
    trust: Trust = False,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> int:
    """Compare methods over sparsities, settings and seeds, with intervals; go on where an earlier run was stopped."""
    flags = dict(locals())
    terminal = _terminal(quiet)
    alone = [n for n, v in (("--gather", gather), ("--list-commands", list_commands), ("--dry-run", dry_run)) if v]
    if len(alone) > 1:
        raise FairpruneError(f"{' and '.join(alone)} cannot go together", where="fairprune compare", hint="give one")
    resolved = _settings(config, flags)
    from fairprune_cli import compare as comparison
    from fairprune_cli.compare import printed as printing

    request = comparison.Request(
        model, resolved, _names(methods), comparison.targets(_names(granularities), _names(sparsities)), seeds,
        tuple(grid or ()), tuple(reference or ()), out, force, trust, dry_run, gather, list_commands,
    )  # fmt: skip
    if list_commands:
        lines = comparison.list_commands(request)
        if as_json:
            _print_json(terminal, {"commands": lines})
        else:
            for line in lines:
                terminal.result(line)
        return int(ExitCode.OK)
    made = comparison.compare(request, terminal)
    if as_json:
        _print_json(terminal, made.document)
    elif dry_run:
        printing.print_dry(made.document, terminal)
    else:
        printing.print_comparison(made.document, made.plan, terminal)
    return int(made.code)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@app.command()
def train(
    arch: Annotated[str, typer.Option("--arch", help="architecture, such as resnet10, resnet10-w16 or vit-tiny")],
    epochs: Annotated[str | None, typer.Option("--epochs", help="epochs [15]")] = None,
    out: Annotated[Path, typer.Option("--out", help="checkpoint to write [model.pt]")] = Path("model.pt"),
    force: Force = False,
    batch_size: BatchSize = None,
    lr: Annotated[str | None, typer.Option("--lr", help="peak learning rate [0.1; vit-tiny 0.02]")] = None,
    data: Data = None,
    extra: Set = None,
    config: Config = None,
    seed: Seed = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
    dry_run: DryRun = False,
) -> int:
    """Train a dense model on the train split; the best epoch on val is kept."""
    flags = dict(locals())
    terminal = _terminal(quiet)
    from fairprune_cli.models.architectures import default_lr

    resolved = _settings(config, {**flags, "epochs": epochs or "15", "lr": lr or str(default_lr(arch))})
    from fairprune_cli.commands import train as dense

    document = dense.train(dense.TrainRequest(resolved, out, force, dry_run), terminal)
    if as_json:
        _print_json(terminal, document)
    else:
        from fairprune_cli.report import console as summary

        (summary.print_plan if dry_run else summary.print_training)(document, terminal)
    return int(ExitCode.OK)


@app.command()
def export(
    model: Model,
    to: Annotated[str, typer.Option("--to", help="safetensors, safetensors-dense, onnx or pt2")],
    store: Annotated[str | None, typer.Option("--store", help="fp32, fp16 or bf16 weights, safetensors only")] = None,
    data: Data = None,
    out: Out = None,
    force: Force = False,
    arch: Arch = None,
    trust: Trust = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write the model in another format; the file is read again and compared before it says done."""
    terminal = _terminal(quiet)
    from fairprune_cli import export as exports
    from fairprune_cli.run import inputs

    store = None if store is None else resolve({"store": store}, {}, None).settings.store
    result = exports.export(model, to, out, arch=arch, trust=trust, force=force, store=store,
                            manifest=inputs.manifest_if_any(data, model))  # fmt: skip
    if as_json:
        _print_json(terminal, result.to_dict())
    else:
        terminal.result(
            f"{result.path}: {result.format}, {result.bytes / 1e6:.2f} MB, read again, largest difference "
            f"{result.max_difference:.1e}"
            + (f" on {result.real_images} images of the manifest and 4 random ones" if result.real_images else "")
            + ("" if result.store is None else f"; rounding to {result.store} moved a logit by {result.rounding:.1e}")
        )
    return int(ExitCode.OK)


@app.command()
def inspect(
    model: Model,
    arch: Arch = None,
    trust: Trust = False,
    size: Annotated[int | None, typer.Option("--size", min=8, max=4096, help="input side for the MACs")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Architecture, parameters, MACs, bytes and sparsity per layer; no data needed."""
    terminal = _terminal(quiet)
    from fairprune_cli.commands import audit as auditing
    from fairprune_cli.report import console as summary

    document = auditing.inspect(model, arch, trust, size)
    if as_json:
        _print_json(terminal, document)
    else:
        summary.print_inspection(document, terminal)
    return int(ExitCode.OK)


@app.command()
def measure(
    model: Model,
    against: Annotated[Path | None, typer.Option("--against", help="dense model to measure in the same run")] = None,
    arch: Arch = None,
    trust: Trust = False,
    size: Annotated[int | None, typer.Option("--size", min=8, max=4096, help="side of the images in pixels")] = None,
    threads: Annotated[str | None, _flag("threads")] = None,
    device: Device = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Parameters, MACs, bytes, peak memory and latency, beside the dense model in one run; no data needed."""
    terminal = _terminal(quiet)
    settings = _settings(None, {"threads": threads, "device": device}).settings
    from fairprune_cli.commands import measure as measuring

    document = measuring.run(
        model, against, arch=arch, trust=trust, size=size, device=settings.device, threads=settings.threads,
        terminal=terminal,
    )  # fmt: skip
    if as_json:
        _print_json(terminal, document)
    else:
        measuring.show(document, terminal)
    return int(ExitCode.OK)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="run folder or report.json")],
    to: Annotated[str, typer.Option("--to", help="html, md, json, junit, github or card")],
    out: Out = None,
    force: Force = False,
) -> int:
    """Render a run's report.json again, to stdout or --out; github also knows the step summary of its jobs."""
    from fairprune_cli.report import github_actions as github
    from fairprune_cli.report import read as rerender
    from fairprune_cli.report import render

    document = rerender.read_report(run)
    if to == "github" and out is None and github.publish(document, os.environ, _terminal(False)):
        return int(ExitCode.OK)
    text = render(document, to)
    if out is None:
        _terminal(False).result(text.rstrip("\n"))
    else:
        rerender.write_text(out, text, force)
    return int(ExitCode.OK)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="folder to make")] = Path("fairprune-demo"),
    force: Force = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="seed of data and training")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """The whole story on drawn faces in under three minutes: data, dense model, pruning, audit, export, report."""
    terminal = _terminal(quiet)
    from fairprune_cli.commands import demo as story

    outcome = story.demo(out, seed, force, terminal, as_json)
    if as_json:
        _print_json(terminal, outcome.report)
    return int(outcome.code)


@data_app.command("init")
def data_init(
    path: Annotated[Path, typer.Argument(help="table (CSV, Parquet) or folder of images")],
    out: Annotated[Path | None, typer.Option("--out", help="manifest to write [manifest.yaml beside it]")] = None,
    name: Annotated[str | None, typer.Option("--name", help="name of the data set")] = None,
    force: Force = False,
) -> int:
    """Write a manifest for a table or a folder of images."""
    from fairprune_cli.commands import data as datasets

    written = datasets.init(path, out, name, force)
    _terminal(False).result(f"{written}: written; check it with: fairprune data check --data {written}")
    return int(ExitCode.OK)


@data_app.command("check")
def data_check(data: Data = None, config: Config = None, as_json: Json = False, quiet: Quiet = False) -> int:
    """Check manifest, table and every image; needs no torch."""
    terminal = _terminal(quiet)
    from fairprune_cli.commands import data as datasets

    return int(datasets.check(_settings(config, {"data": data}).settings, terminal, as_json))


@data_app.command("sample")
def data_sample(
    out: Annotated[Path, typer.Option("--out", help="folder to make")] = Path("sample"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="seed of the drawings")] = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> int:
    """Write the embedded data set: drawn faces with expression, gender and age."""
    terminal = _terminal(quiet)
    from fairprune_cli.commands import data as datasets

    terminal.result(f"{datasets.sample(out, seed, force, terminal)}: written")
    return int(ExitCode.OK)


@data_app.command("stats")
def data_stats(
    data: Data = None,
    attr: Attr = None,
    split: Annotated[str | None, typer.Option("--split", help="split that the picture shows [train]")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="picture to write: images per group and label (.png, .svg, .html)")
    ] = None,
    force: Force = False,
    config: Config = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Counts per split, label and group, and with --out a picture of them; needs no torch."""
    terminal = _terminal(quiet)
    from fairprune_cli.commands import data as datasets

    settings = _settings(config, {"data": data, "attr": attr}).settings
    return int(datasets.stats(settings, terminal, as_json, out, split or "train", force))


@data_app.command("cache")
def data_cache(
    clear: Annotated[bool, typer.Option("--clear", help="remove everything in it")] = False, as_json: Json = False
) -> int:
    """Show or empty the cache of decoded images."""
    from fairprune_cli.commands import data as datasets

    return int(datasets.cache(clear, _terminal(False), as_json))
