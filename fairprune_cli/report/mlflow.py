"""A finished run, told to an experiment tracker as well. A tracker that fails is a warning, never the end of a run."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fairprune_cli.core.terminal import Terminal
from fairprune_cli.report.values import number, ordered, settings
from fairprune_cli.report.view import View

EXPERIMENT = "fairprune"
_LONGEST_NAME, _LONGEST_VALUE = 250, 500
_AT_ONCE = 100  # parameters per call that a server takes


def track(report: Mapping[str, Any], folder: Path | None, terminal: Terminal) -> None:
    """Tell the tracker that the run's settings name; without one nothing happens and nothing is imported."""
    view = View(report)
    if view.setting("track") != "mlflow":
        return
    try:
        with _unattended():
            _mlflow(view, folder)
    except ImportError:
        terminal.warn("mlflow is not installed, so the run was not tracked: pip install mlflow", "track")
    except Exception as error:  # whatever a tracker's client raises, the run itself is sound
        text = " ".join(str(error).split())[:300]
        terminal.warn(f"the run was not tracked: {type(error).__name__}: {text}", "track")


def metrics_of(view: View) -> dict[str, float]:
    """Every figure of the report that is a number, by names that MLflow accepts; undefined ones are left out."""
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
    return {accepted(name): value for name, value in found.items() if value is not None}


def accepted(name: str) -> str:
    """`name` with what MLflow refuses in names (a group's may hold anything) replaced by underscores.

    An intersection's star becomes " x ", and "<30" and ">30" stay two names.
    """
    name = name.replace("*", " x ").replace("<", "below ").replace(">", "above ").replace("+", " plus")
    name = re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)
    # No empty, absolute or parent part: names are used as paths.
    parts = [part.strip() if part.strip(" .") else "_" for part in name.split("/")]
    return "/".join(parts)[:_LONGEST_NAME]


@contextlib.contextmanager
def _unattended() -> Iterator[None]:
    """Nothing is asked, and what the client prints goes to stderr: stdout holds the result alone."""
    before = {key: os.environ.get(key) for key in ("GIT_PYTHON_REFRESH", "MLFLOW_ENABLE_ASYNC_LOGGING")}
    os.environ.update({"GIT_PYTHON_REFRESH": "quiet", "MLFLOW_ENABLE_ASYNC_LOGGING": "false"})
    stdin = sys.stdin
    try:
        with open(os.devnull, encoding="utf-8") as nothing, contextlib.redirect_stdout(sys.stderr):
            sys.stdin = nothing
            yield
    finally:
        sys.stdin = stdin
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def _mlflow(view: View, folder: Path | None) -> None:
    import mlflow

    if not os.environ.get("MLFLOW_EXPERIMENT_NAME") and not os.environ.get("MLFLOW_EXPERIMENT_ID"):
        mlflow.set_experiment(EXPERIMENT)
    name = folder.name if folder is not None else view.text("model", "architecture") or "audit"
    with mlflow.start_run(run_name=name):
        rows = [(accepted(key), str(value)[:_LONGEST_VALUE]) for key, value, _ in settings(view.mapping("config"))]
        for start in range(0, len(rows), _AT_ONCE):
            mlflow.log_params(dict(rows[start : start + _AT_ONCE]))
        mlflow.set_tags({
            "fairprune.verdict": view.verdict, "fairprune.version": view.text("tool_version"),
            "fairprune.model_sha256": view.text("model", "sha256"),
            "fairprune.data_sha256": view.text("data", "sha256"),
        })  # fmt: skip
        for record in view.training:
            epoch = number(record.get("epoch"))
            figures = {f"training/{accepted(k)}": v for k in record if (v := number(record[k])) is not None}
            for kind in ("exact_gap", "surrogate_gap"):
                for attribute, value in (record.get(kind) or {}).items():
                    if (gap := number(value)) is not None:
                        figures[accepted(f"training/{kind}/{attribute}")] = gap
            mlflow.log_metrics(figures, step=int(epoch or 0))
        mlflow.log_metrics(metrics_of(view))
        for file in ("report.json", "report.html", "report.md", "config.yaml", "model.safetensors"):
            if folder is not None and (folder / file).is_file():
                mlflow.log_artifact(str(folder / file))
