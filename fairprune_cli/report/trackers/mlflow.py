"""MLflow, wherever MLFLOW_TRACKING_URI points; the experiment is `fairprune` unless the environment names another."""

from __future__ import annotations

import os

from fairprune_cli.report.tracking import TOOL, TrackedRun

PACKAGE = "mlflow"
ENVIRONMENT = {"GIT_PYTHON_REFRESH": "quiet", "MLFLOW_ENABLE_ASYNC_LOGGING": "false"}

_LONGEST_VALUE = 500
_AT_ONCE = 100  # parameters per call that a server takes


def log(run: TrackedRun) -> str:
    """Settings as parameters, figures and epochs as metrics, the run folder's files as artifacts."""
    import mlflow

    if not os.environ.get("MLFLOW_EXPERIMENT_NAME") and not os.environ.get("MLFLOW_EXPERIMENT_ID"):
        mlflow.set_experiment(TOOL)
    with mlflow.start_run(run_name=run.name):
        rows = [(key, value[:_LONGEST_VALUE]) for key, value in run.settings.items()]
        for start in range(0, len(rows), _AT_ONCE):
            mlflow.log_params(dict(rows[start : start + _AT_ONCE]))
        mlflow.set_tags({f"{TOOL}.{key}": value for key, value in run.facts.items()})
        for step, figures in run.epochs:
            mlflow.log_metrics(run.cleaned(figures), step=step)
        mlflow.log_metrics(run.cleaned(run.figures))
        for file in run.files:
            mlflow.log_artifact(str(file))
    return ""
