"""Prune image classifiers without making them unfairer.

Importing this package is cheap: torch is imported on first use of `prune`, `audit`, `load`, `audit_report`,
`group_thresholds` or `architectures`, whose `architectures.build(name, num_classes)` gives the network that a
checkpoint of that name belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairprune_cli.audit.policy import Policy
    from fairprune_cli.core.errors import FairpruneError, FairpruneWarning
    from fairprune_cli.models import architectures
    from fairprune_cli.models.file.group_points import GroupPoints
    from fairprune_cli.run.report_handle import Report

__version__ = "0.3.0"
__all__ = [
    "FairpruneError", "FairpruneWarning", "Policy", "Report", "__version__", "architectures", "audit", "audit_report",
    "group_thresholds", "load", "prune",
]  # fmt: skip


def load(path: str | PathLike[str], arch: str | nn.Module | None = None) -> nn.Module:
    """Load a model that fairprune wrote, in float32 and eval mode on the CPU, whatever the file stores.

    Args:
        path: a `model.safetensors` written by fairprune, or the run folder that holds it.
        arch: what builds the network before its channels were removed, where it is none that fairprune knows:
            "package.module:factory", which is imported and called; or such a network itself, which is copied.

    Raises:
        FairpruneError: the file is missing, damaged or not one of fairprune's, or of another network than `arch`
            builds; it names a network of one's own and `arch` is None, as a file does not choose which code runs.
    """
    from pathlib import Path

    from fairprune_cli.models.file.codec import load_network as load_file

    return load_file(Path(path), arch).float()


def group_thresholds(path: str | PathLike[str], task: str | None = None) -> GroupPoints:
    """The operating points of groups that `fairprune prune --group-thresholds` fitted, to be applied to scores.

    `group_thresholds("model.safetensors").predicted(scores, groups)` gives the classes of n images with these scores
    of the network, [n, K], and names of groups. They need each image's group, whose use may be unlawful:
    docs/evidence.md.

    Args:
        path: a `model.safetensors` written by fairprune, or the run folder that holds it.
        task: which one's, where the network has several; the first one's where None.

    Raises:
        FairpruneError: the file is missing, damaged or not one of fairprune's, or holds no such points.
    """
    from pathlib import Path

    from fairprune_cli.models.checkpoint.location import locate
    from fairprune_cli.models.file.codec import read_header
    from fairprune_cli.models.file.group_points import points_of_task

    file = locate(Path(path))
    return points_of_task(read_header(file).group_thresholds, task, str(file))


def prune(
    model: str | PathLike[str] | nn.Module | None = None,
    *,
    out: str | PathLike[str] | None = None,
    force: bool = False,
    resume: str | PathLike[str] | None = None,
    config: str | PathLike[str] | None = None,
    trust_checkpoint: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Report:
    """What `fairprune prune` does, with its settings and its checks; docs/python.md shows it.

    Args:
        model: the dense model: a checkpoint, a run folder, or a network in memory, which stays as it is.
        out: run folder; `runs/<model>-<method>-<granularity>-<sparsity>` if None. `force` overwrites it.
        resume: run folder to continue; with it only what `fairprune prune --resume` takes, and the network of a run
            that began with one in memory.
        config: settings file; fairprune.yaml of the working directory, if there is one, where None.
        trust_checkpoint: really unpickle the model's file, which runs its code.
        progress: show on stderr what the command shows; else nothing is printed.
        settings: any setting by its key: data="manifest.yaml", sparsity=0.8, attr="gender", max_gap=0.05.

    Returns:
        The report. Its `folder` is that of the run, its `model()` the pruned network.

    Raises:
        FairpruneError: what the command would end with code 2 or 3 for, in the same words; or Ctrl-C stopped it, whose
            `code` is 130: the message says how to continue. A gate that did not pass raises nothing.

    Warns:
        FairpruneWarning: what the command warns of; also in `report.warnings`.
    """
    from fairprune_cli.run.in_python import prune_for

    return prune_for(
        model, settings, out=out, force=force, resume=resume, config=config, trust=trust_checkpoint, progress=progress
    )


def audit_report(
    *models: str | PathLike[str],
    data: str | PathLike[str] | None = None,
    against: str | PathLike[str] | None = None,
    attributes: Sequence[str] = (),
    policy: str | PathLike[str] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """The document of `audit(...)`, under the names that it had before; its "verdict" is that of all gates.

    Args:
        models: checkpoints, model files or run folders.
        data: manifest; looked for as the command does where absent.
        against: dense model that the others are compared with.
        attributes: those of the manifest where empty.
        policy: policy file.
        settings: any other setting by its key, such as max_gap=0.05 or split="val".

    Raises:
        FairpruneError: what the command would end with code 2 or 3 for; a failed gate raises nothing.
    """
    given = {"data": data, "policy": policy, "attr": tuple(attributes) or None, **settings}
    return audit(models, against=against, **given).document


class _CallableFolder(ModuleType):
    """The module of the folder `audit`, which is the package's attribute of that name, called as the function."""

    def __call__(
        self,
        model: Any,
        *,
        against: str | PathLike[str] | nn.Module | Callable[[Tensor], Any] | None = None,
        out: str | PathLike[str] | None = None,
        force: bool = False,
        config: str | PathLike[str] | None = None,
        trust_checkpoint: bool = False,
        progress: bool = False,
        **settings: Any,
    ) -> Report:
        """What `fairprune audit` does, with its settings and its checks; docs/python.md shows it.

        Args:
            model: a checkpoint, a model file or a run folder; a network in memory, which stays as it is; a function of
                images [B, C, H, W], normalised as the manifest says, that gives scores or probabilities [B, K]; or a
                list of these, judged on the same images.
            against: the dense model that the others are compared with, of any of these kinds.
            out: folder for report.json, .html and .md; nothing is written where None. `force` overwrites it.
            config, trust_checkpoint, progress: as for `prune`.
            settings: any setting by its key: data="manifest.yaml", attr="gender", max_gap=0.05, policy="policy.yaml".

        Raises, Warns: as `prune`.
        """
        from fairprune_cli.run.in_python import audit_for

        return audit_for(
            model, settings, against=against, out=out, force=force, config=config, trust=trust_checkpoint,
            progress=progress,
        )  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "architectures":
        import importlib

        return importlib.import_module("fairprune_cli.models.architectures")
    if name == "Policy":
        from fairprune_cli.audit.policy import Policy

        return Policy
    if name == "Report":
        from fairprune_cli.run.report_handle import Report

        return Report
    if name in ("FairpruneError", "FairpruneWarning"):
        from fairprune_cli.core import errors

        return getattr(errors, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if TYPE_CHECKING:
    audit: _CallableFolder
else:
    from fairprune_cli import audit  # the folder, which holds a docstring and is cheap

    audit.__class__ = _CallableFolder
