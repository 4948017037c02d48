"""What a command refuses before torch is imported: paths, names and settings that need neither model nor images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.models import architecture_names
from fairprune_cli.models.checkpoint.location import locate
from fairprune_cli.run.options import Resolved, Settings


def look_ahead(
    resolved: Resolved, models: Iterable[Path], every: bool = False, beside: Path | None = None, graphs: bool = True
) -> Path:  # fmt: skip
    """Check the files and names of a call that works on images.

    Args:
        models: that are read; the first one's folder may hold the manifest.
        graphs: whether a graph in ONNX will do as a model.
        beside: a file whose folder may hold the manifest, where no model is read.
        every: whether all attributes of the manifest are meant where none is named.

    Returns:
        The manifest's path.

    Raises:
        FairpruneError: a file that is not there, a manifest at fault, an attribute or architecture that is unknown, an
            unsound policy, or fairness asked of a method that has none.
    """
    settings, paths = resolved.settings, list(models)
    look_at_models(settings.arch, paths, graphs)
    _refuse_fairness_of_none(resolved)
    if not every:  # an audit takes them from the model's file
        refuse_several_thresholds(settings)
    # They take numpy, which what was looked at so far does without.
    from fairprune_cli.audit.policy import policy_of
    from fairprune_cli.data.manifest.load import check_manifest, find_manifest

    policy = policy_of(settings)
    found = find_manifest(None if settings.data is None else Path(settings.data), (*paths, beside)[0], None)
    check_manifest(found, tuple(dict.fromkeys((*settings.attr, *policy.attributes))), every)
    return found


def look_at_models(arch: str | None, models: Iterable[Path], graphs: bool = True) -> None:
    """Check that models are there, and that an architecture of this name is."""
    for path in models:
        locate(path, graphs)
    if arch is not None:
        architecture_names.refuse_unknown(arch)


def refuse_several_thresholds(settings: Settings) -> None:
    """Refuse to fit thresholds for groups of several attributes: an image is in one group of each."""
    if settings.group_thresholds and len(settings.attr) > 1:
        both = "*".join(settings.attr)
        raise FairpruneError(
            f"an image can have one threshold, and {' and '.join(settings.attr)} are {len(settings.attr)} attributes",
            where="--group-thresholds", hint=f"give one --attr, such as {settings.attr[0]}, or their groups at once, "
            f"{both}",
        )  # fmt: skip


def _refuse_fairness_of_none(resolved: Resolved) -> None:
    """Refuse a level for the fairness term of a method that has no such term: whoever asks for it means fairness."""
    settings = resolved.settings
    if resolved.sources["fairness_on"] != "flag" or settings.fairness_on == "none":
        return
    if plugins.is_import_path(settings.method):
        return  # what it has is known once it is imported
    if not plugins.METHOD.constants(settings.method).get(plugins.METHOD.prefers):
        raise FairpruneError(
            f"the method {settings.method} has no fairness term", where="--fairness-on",
            hint="leave it out, or choose a method that has one, such as --method bifp",
        )  # fmt: skip
