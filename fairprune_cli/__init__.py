"""Prune image classifiers without making them unfairer.

Importing this package is cheap: torch is imported on first use of `load`, `audit_report` or `architectures`, whose
`architectures.build(name, num_classes)` gives the network that a checkpoint of that name belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from fairprune_cli.audit.policy import Policy
    from fairprune_cli.models import architectures

__version__ = "0.2.0"
__all__ = ["Policy", "__version__", "architectures", "audit_report", "load"]


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


def audit_report(
    *models: str | PathLike[str],
    data: str | PathLike[str] | None = None,
    against: str | PathLike[str] | None = None,
    attributes: Sequence[str] = (),
    policy: str | PathLike[str] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """What `fairprune audit` finds, as the document of report.json; its "verdict" is that of all gates.

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
    from pathlib import Path

    from fairprune_cli.audit.policy import with_policy
    from fairprune_cli.core.errors import FairpruneError
    from fairprune_cli.core.terminal import Terminal
    from fairprune_cli.run.audit import audit
    from fairprune_cli.run.audit_sources import AuditRequest
    from fairprune_cli.run.options import resolve

    if not models:
        raise FairpruneError("no model was given", where="audit_report")
    flags = {"attr": tuple(attributes), **settings}
    flags |= {key: str(value) for key, value in (("data", data), ("policy", policy)) if value is not None}
    request = AuditRequest(
        tuple(map(Path, models)), with_policy(resolve(flags, {}, None)), None if against is None else Path(against)
    )
    return audit(request, Terminal(quiet=True)).report


def __getattr__(name: str) -> Any:
    if name == "architectures":
        import importlib

        return importlib.import_module("fairprune_cli.models.architectures")
    if name == "Policy":
        from fairprune_cli.audit.policy import Policy

        return Policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
