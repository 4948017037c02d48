"""Thresholds of groups in an audit: found in the models' files, and refused where the data do not tell the groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fairprune_cli.audit.points_in_use import PointsInUse
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.load import check_manifest, find_manifest
from fairprune_cli.export import points_of_file
from fairprune_cli.models.checkpoint.load import LoadedModel
from fairprune_cli.models.file.group_points import GroupPoints
from fairprune_cli.run.audit_sources import AuditRequest
from fairprune_cli.run.audit_step import points_in_use
from fairprune_cli.run.opened_data import Data


def points_of_sources(
    sources: Mapping[str, LoadedModel], data: Data, terminal: Terminal
) -> dict[str, list[PointsInUse | None]]:
    """The thresholds of groups that the models' files hold, by model; not the dense model's, if others are beside it.

    Groups of the manifest without one are named in a warning.

    Raises:
        FairpruneError: no model has any, or not for what the manifest tells.
    """
    found, told = {}, False
    for name, loaded in sources.items():
        if name == "dense" and len(sources) > 1:
            continue
        points = [GroupPoints(**one) for one in loaded.metadata.get("group_thresholds", ())]
        told = told or bool(points)
        try:
            uses = points_in_use(points, data.manifest)
        except FairpruneError as error:
            raise _unknown_groups(loaded.source, error) from error
        if any(uses):
            found[name] = uses
        for use in filter(None, uses):
            if lacking := [group for group in use.names if group not in use.points.biases]:
                terminal.warn(
                    f"{loaded.source} has no threshold for {', '.join(lacking)} of {use.points.attribute}: the common "
                    "one is taken", code="group-thresholds",
                )  # fmt: skip
    if found:
        return found
    raise _without_points("are for other classes than the manifest's" if told else "are in no model's file")


def refuse_without_points(request: AuditRequest) -> None:
    """Before any image is read, refuse thresholds of groups that no file has, or of attributes unknown to the manifest.

    Raises:
        FairpruneError: see above.
    """
    settings = request.resolved.settings
    if not settings.group_thresholds or request.in_memory:
        return
    points = {path: points_of_file(path) for path in request.models}
    if not any(points.values()):
        raise _without_points("are in no model's file")
    manifest = find_manifest(None if settings.data is None else Path(settings.data), request.models[0], None)
    check_manifest(manifest)
    for path, own in points.items():
        try:
            check_manifest(manifest, [one.attribute for one in own])
        except FairpruneError as error:
            raise _unknown_groups(path, error) from error


def _unknown_groups(source: Path, error: FairpruneError) -> FairpruneError:
    return FairpruneError(
        f"its thresholds are those of groups that the manifest does not tell: {error.what}",
        where=str(source), hint=error.hint or "leave out --group-thresholds",
    )  # fmt: skip


def _without_points(why: str) -> FairpruneError:
    return FairpruneError(
        f"thresholds of groups {why}", where="--group-thresholds",
        hint="leave it out, or audit what `fairprune prune --group-thresholds` wrote",
    )  # fmt: skip
