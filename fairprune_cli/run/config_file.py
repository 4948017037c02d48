"""config.yaml of a run folder: the settings of a run, where each came from, and what the run read.

It is data of a file like any other: what it names is never imported because it names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fairprune_cli.core import settings as layers
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.files import read_document
from fairprune_cli.core.yaml_text import yaml_values
from fairprune_cli.run.options import FIELDS, Resolved, Settings

CONFIG = "config.yaml"
_INPUTS = ("model", "model_sha256", "manifest", "manifest_sha256", "trust")


def read_config_of(folder: Path) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """What config.yaml of a run folder says: the value of each setting, where it came from, and the run's inputs.

    Raises:
        FairpruneError: it is absent or damaged, or does not say what the run read.
    """

    def parts(text: str) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
        document = yaml_values(text)
        told = document if isinstance(document, dict) else {}
        settings, inputs = told.get("settings"), told.get("inputs")
        if not isinstance(settings, dict) or not isinstance(inputs, dict):
            raise ValueError("it has no settings and inputs")
        if not all(isinstance(entry, dict) and {"value", "source"} <= entry.keys() for entry in settings.values()):
            raise ValueError("a setting has no value and source")
        if lacking := [name for name in _INPUTS if not isinstance(inputs.get(name), str)]:
            raise ValueError(f"its inputs do not tell {', '.join(lacking)}")
        values = {str(key): entry["value"] for key, entry in settings.items()}
        sources = {str(key): str(entry["source"]) for key, entry in settings.items()}
        return values, sources, {str(key): str(value) for key, value in inputs.items()}

    found: tuple[dict[str, Any], dict[str, str], dict[str, str]] = read_document(
        folder / CONFIG, "run's settings", parts, "yaml_bytes", "give a run folder", yaml.YAMLError
    )
    return found


def resolved_again(saved: Mapping[str, Any], folder: Path) -> Resolved:
    """The settings of a run folder's config.yaml, checked as those of a call are."""
    try:
        return layers.merge(Settings, saved, {}, None, str)
    except FairpruneError as error:
        what = f"{error.where}: {error.what}" if error.where in FIELDS else error.what
        raise FairpruneError(what, where=str(folder / CONFIG), hint="start the run again without --resume") from error
