"""A finished run, told to experiment trackers as well. A tracker that fails is a warning, never the end of a run."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import TRACKER
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.values import number, ordered, settings
from fairprune_cli.report.view import View

TOOL = "fairprune"
FILES = ("report.json", "report.html", "report.md", "config.yaml", "model.safetensors")
_LONGEST_NAME = 250


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told.

    Attributes:
        name: of the run.
        folder: where its files are; None where nothing was written.
        settings: by their names, in words.
        facts: verdict, version of the tool, hashes of model and data.
        figures: every number of the report by its name, in which groups stand as the data have them.
        epochs: (epoch, figures) of the training.
        files: of the run folder.
    """

    name: str
    folder: Path | None
    settings: Mapping[str, str]
    facts: Mapping[str, str]
    figures: Mapping[str, float]
    epochs: Sequence[tuple[int, Mapping[str, float]]]
    files: Sequence[Path]

    def cleaned(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The figures by names that a tracker with narrow rules takes; two names stay two, in every epoch the same."""
        return {self._names[name]: value for name, value in figures.items()}

    @cached_property
    def _names(self) -> dict[str, str]:
        return cleaned_names({name for _, epoch in self.epochs for name in epoch} | set(self.figures))


def refuse_missing_trackers(names: Iterable[str]) -> None:
    """Raises FairpruneError where the package of one that was asked for is not installed."""
    packages = {name: TRACKER.load(name, "--track").PACKAGE for name in names}
    missing = {name: package for name, package in packages.items() if importlib.util.find_spec(package) is None}
    if missing:
        extras = ",".join(missing)
        raise FairpruneError(
            f"{' and '.join(missing.values())} {'is' if len(missing) == 1 else 'are'} not installed",
            where=f"--track {extras}", hint=f"pip install {' '.join(missing.values())} (the extra {TOOL}[{extras}])",
        )  # fmt: skip


def track(report: Mapping[str, Any], folder: Path | None, terminal: Terminal) -> None:
    """Tell the trackers that the run's settings name; without one nothing happens and nothing is imported."""
    view = View(report)
    named = view.setting("track") or ()
    for name in [named] if isinstance(named, str) else named:
        if name == "none":
            continue
        try:
            tracker = TRACKER.load(name)
            with _unattended(tracker.ENVIRONMENT):
                said = tracker.log(_told(view, folder))
            if said:
                terminal.note(said)
        except ImportError:
            terminal.warn(f"{name} is not installed, so the run was not tracked: pip install {name}", "track")
        except Exception as error:  # whatever a tracker's client raises, the run itself is sound
            text = " ".join(str(error).split())[:600]
            terminal.warn(f"the run was not tracked by {name}: {type(error).__name__}: {text}", "track")


def _told(view: View, folder: Path | None) -> TrackedRun:
    return TrackedRun(
        folder.name if folder is not None else view.text("model", "architecture") or "audit",
        folder,
        {accepted(key): str(value) for key, value, _ in settings(view.mapping("config"))},
        {
            "verdict": view.verdict, "version": view.text("tool_version"),
            "model_sha256": view.text("model", "sha256"), "data_sha256": view.text("data", "sha256"),
        },
        metrics_of(view),
        [(int(number(record.get("epoch")) or 0), _of_epoch(record)) for record in view.training],
        [folder / file for file in FILES if (folder / file).is_file()] if folder is not None else [],
    )  # fmt: skip


def metrics_of(view: View) -> dict[str, float]:
    """Every figure of the report that is a number, by its name; undefined ones are left out."""
    found: dict[str, float | None] = {}
    for model in view.models:
        found[f"{model}/accuracy"] = view.overall(model).value
        for attribute in view.attributes:
            found[f"{model}/{attribute}/gap"] = view.gap(model, attribute).value
            for metric in ordered(view.mapping("results", model, "attributes", attribute, "metrics")):
                found[f"{model}/{attribute}/{metric}"] = view.metric(model, attribute, metric).value
            for group in view.groups(attribute):
                found[f"{model}/{attribute}/{group}/accuracy"] = view.group(model, attribute, group).value
    for block in ("sparsity", "size", "cost"):
        for key, value in view.mapping(block).items():
            found[f"{block}/{key}"] = number(value)
    return {name: value for name, value in found.items() if value is not None}


def _of_epoch(record: Mapping[str, Any]) -> dict[str, float]:
    figures = {f"training/{key}": value for key in record if (value := number(record[key])) is not None}
    for kind in ("exact_gap", "surrogate_gap"):
        for attribute, gap in (record.get(kind) or {}).items():
            if (value := number(gap)) is not None:
                figures[f"training/{kind}/{attribute}"] = value
    return figures


def accepted(name: str) -> str:
    """`name` in letters, digits and signs that every tracker takes; a group's may hold anything.

    An intersection's star becomes " x ", and "<30" and ">30" stay two names. Where a letter or sign has no
    counterpart, an underscore stands for it and the end of a hash of the whole part tells it from others: a name is
    the same in every run, whichever other groups there are.
    """
    parts = [_accepted_part(part) for part in name.split("/")]
    whole = "/".join(parts)
    return whole if len(whole) <= _LONGEST_NAME else _marked(whole[: _LONGEST_NAME - 7], name)


def _accepted_part(part: str) -> str:
    said = part.replace("*", " x ").replace("<", "below ").replace(">", "above ").replace("+", " plus")
    kept = re.sub(r"[^\w\-. ]", "_", said, flags=re.ASCII).strip()
    # No empty, absolute or parent part: names are used as paths.
    kept = kept if kept.strip(" .") else "_"
    return kept if kept == said else _marked(kept, part)


def _marked(text: str, name: str) -> str:
    return f"{text}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


def cleaned_names(names: Iterable[str]) -> dict[str, str]:
    """An accepted name for each, no two of them the same even where upper and lower case are."""
    made = {name: accepted(name) for name in names}
    times = Counter(name.casefold() for name in made.values())
    return {
        name: text if times[text.casefold()] == 1 else _marked(text[: _LONGEST_NAME - 7], name)
        for name, text in made.items()
    }


@contextlib.contextmanager
def _unattended(environment: Mapping[str, str]) -> Iterator[None]:
    """Nothing is asked, and what the client prints goes to stderr: stdout holds the result alone."""
    before = {key: os.environ.get(key) for key in environment}
    os.environ.update(environment)
    stdin = sys.stdin
    try:
        with open(os.devnull, encoding="utf-8") as nothing, contextlib.redirect_stdout(sys.stderr):
            sys.stdin = nothing
            yield
    finally:
        sys.stdin = stdin
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})
