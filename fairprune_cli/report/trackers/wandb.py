"""Weights & Biases, in the project `fairprune` unless WANDB_PROJECT names another.

Without an account on this machine, and with WANDB_MODE=offline, the run is kept in the folder `wandb` of the run
folder (or below WANDB_DIR), from where `wandb sync` sends it.
"""

from __future__ import annotations

import os
from typing import Any

from fairprune_cli.report.tracking import TOOL, TrackedRun

PACKAGE = "wandb"
ENVIRONMENT = {"WANDB_SILENT": "true", "WANDB_DISABLE_GIT": "true", "WANDB_CONSOLE": "off"}

_PATIENCE = 30.0  # seconds for a server that does not answer


def log(run: TrackedRun) -> str:
    """Settings as config, figures as the summary, epochs as history, the run folder's files as files."""
    import wandb

    where = os.environ.get("WANDB_DIR") or (str(run.folder) if run.folder is not None else None)
    how: dict[str, Any] = {
        "project": os.environ.get("WANDB_PROJECT") or TOOL, "name": run.name, "config": dict(run.settings),
        "dir": where, "settings": wandb.Settings(disable_code=True, disable_git=True, init_timeout=_PATIENCE),
    }  # fmt: skip
    said = ""
    try:
        made = wandb.init(**how)
    except wandb.errors.Error as error:  # no account on this machine, or no way to the server
        made = wandb.init(**how, mode="offline")
        said = f"wandb kept the run offline ({' '.join(str(error).split())[:100]}): wandb sync {made.settings.sync_dir}"
    try:
        for step, figures in run.epochs:
            made.log(run.cleaned(figures), step=step)
        made.summary.update({**run.facts, **run.cleaned(run.figures)})
        for file in run.files:
            made.save(str(file), base_path=str(file.parent), policy="now")
    finally:
        made.finish()
    return said
