"""All settings of a run: the union of the groups that stand beside their users."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairprune_cli.audit.options import AuditOptions, FigureOptions
from fairprune_cli.core import settings as layers
from fairprune_cli.core.files import refuse_no_file
from fairprune_cli.core.parallel import MOST_THREADS
from fairprune_cli.core.plugins import TRACKER, refuse_code_of_files
from fairprune_cli.core.settings import setting
from fairprune_cli.data.options import DataOptions
from fairprune_cli.export.options import ExportOptions
from fairprune_cli.fairness.options import ConstraintOptions
from fairprune_cli.models.options import ModelOptions
from fairprune_cli.pruning.options import MethodOptions, TargetOptions
from fairprune_cli.training.options import TrainOptions


@dataclass(frozen=True)
class RunOptions:
    """The machine, and what happens beside the run."""

    device: str = setting(
        "auto", "auto, cpu, cuda, cuda:N or mps", form=r"auto|cpu|mps|cuda(:[0-9]+)?", metavar="device",
        also={"gpu": "cuda", "nvidia": "cuda", "metal": "mps"},
    )  # fmt: skip
    threads: int = setting(0, "CPU threads; 0 leaves it to torch", low=0, high=MOST_THREADS)
    save_minutes: float = setting(5.0, "minutes between saved states; 0 is after every step", low=0.0, high=10_000.0)
    track: tuple[str, ...] = setting(
        (), "experiment trackers that are told of finished runs, by comma; none are", plugins=TRACKER,
        also={"none": "no tracker"},
    )  # fmt: skip

    @staticmethod
    def settle(values: dict[str, Any], sources: Mapping[str, str]) -> list[tuple[str, str, str]]:
        """Make the empty list of "none", its other word, which is given alone."""
        given = values.get("track", ())
        named = tuple(dict.fromkeys(name for name in given if name != "none"))
        if named and "none" in given:
            return [("track", f"none and {named[0]} contradict each other", "leave one of them out")]
        if given:
            values["track"] = named
        return []


@dataclass(frozen=True)
class Settings(
    DataOptions, ModelOptions, TargetOptions, MethodOptions, ConstraintOptions, TrainOptions, AuditOptions,
    FigureOptions, ExportOptions, RunOptions,
):  # fmt: skip
    """Everything a run can be told; each field is a key of fairprune.yaml and FAIRPRUNE_<KEY>.

    It is each of the groups, and is handed over as the group that a function asks for. config.yaml, the report and
    `fairprune config` list the settings in the order of the groups here.
    """


# Settings of a run that have a flag of their own, in the order in which --help lists them; others go through --set.
PRUNING = (
    "sparsity", "attr", "method", "granularity", "prune_frozen", "sparsity_of", "round_to", "store", "weights",
    "classes_from", "fairness_on", "mask_step", "notion", "relaxation", "tolerance", "target", "max_accuracy_loss",
    "group_thresholds", "epochs", "batch_size", "lr", "precision", "compile", "upper_every",
)  # fmt: skip
GATES = (
    "max_gap", "max_degradation", "max_churn", "min_accuracy", "min_group", "allow_small_groups", "confidence",
    "point_estimate", "policy",
)  # fmt: skip
SHOWN = ("show_examples", "list_changed", "track", "split")
INT8 = ("calibration_images", "attr", "split", "min_group", "confidence", "seed")  # of export, with --int8 alone
INPUTS = ("data", "arch", "seed", "device")

Resolved = layers.Resolved[Settings]
FIELDS: Mapping[str, dataclasses.Field[Any]] = layers.fields_of(Settings)


def settled(given: Mapping[str, Any], config: Path | None, spelled: Callable[[str], str] = layers.flag_of) -> Resolved:
    """All settings of a call: what it gives over the environment over the settings file over what a policy's top says.

    Args:
        given: values by key, as flags or keywords.
        config: settings file; fairprune.yaml of the working directory, if there is one, where None.
        spelled: what messages call a key among those given.
    """
    default = Path(layers.CONFIG_FILE)
    if config is not None:
        refuse_no_file(config, "check --config")
    file = config if config is not None else default if default.exists() else None
    made = layers.merge(Settings, given, os.environ, file, spelled)
    if made.settings.policy is not None:
        from fairprune_cli.audit.policy import with_policy  # which takes numpy, and settings alone need none

        made = with_policy(made)
    refuse_code_of_files(layers.values_of(made.settings), made.sources, None if config is None else str(config))
    if made.settings.track:
        from fairprune_cli.report.tracking import refuse_missing_trackers

        refuse_missing_trackers(made.settings.track)
    return made


def resolve(flags: Mapping[str, Any], env: Mapping[str, str], file: Path | None) -> Resolved:
    """All settings from flags, environment and file; see `core.settings.merge`."""
    return layers.merge(Settings, flags, env, file)
