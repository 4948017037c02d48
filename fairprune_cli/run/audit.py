"""An audit of models as they are: look, judge, report, change nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fairprune_cli.audit.policy import Policy, policy_of
from fairprune_cli.core import distributed as ranks
from fairprune_cli.core import provenance
from fairprune_cli.core.device import choose_device, machine, process_peak_bytes, repeatable, set_threads
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.core.files import refuse_no_room
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.fairness import notions as fairness
from fairprune_cli.run.audit_sources import AuditRequest, common_transform, described_sources, open_sources
from fairprune_cli.run.audit_step import AuditStep, Outcome
from fairprune_cli.run.inputs import decoded_images, open_data
from fairprune_cli.run.plug_ins import refuse_broken_plug_ins

if TYPE_CHECKING:
    import torch


def audit(request: AuditRequest, terminal: Terminal) -> Outcome:
    """Audit one model or several on the same images, alone or against the dense one they came from.

    Several processes divide the images among them.
    """
    device = choose_device(request.resolved.settings.device)
    with ranks.joined(device) as group:
        return _audit(request, terminal, device, group)


def _audit(request: AuditRequest, terminal: Terminal, device: torch.device, group: ranks.Ranks) -> Outcome:
    settings = request.resolved.settings
    started = time.time()
    with group.together():
        policy = policy_of(settings)
        _check(request)
        threads = set_threads(settings.threads)
        repeatable(device)
        data = open_data(settings, request.models[0], terminal, True, settings.split).with_attributes(policy.attributes)
        refuse_broken_plug_ins(*(len(task.classes) for task in data.manifest.tasks))
        _check_dense(request, policy, len(data.manifest.classes))
        rows = data.rows(settings.split)
        if not len(rows):
            raise FairpruneError(f"the {settings.split} split has no images", where=str(data.manifest.path))
        sources = open_sources(request, data, terminal)
        transform = common_transform(sources, data, terminal)
    if request.dry_run:
        plan = {
            "dry_run": True, "models": {k: str(v.source) for k, v in sources.items()}, "split": settings.split,
            "images": len(rows), "attributes": {g.name: list(g.groups) for g in data.groupings}, "device": str(device),
            "gates": sum(len(rule.attributes or data.attributes) for rule in policy.rules),
        }  # fmt: skip
        return Outcome(plan, ExitCode.OK)
    with group.together():
        pool = decoded_images(data, transform, terminal, rows).pool(rows)
    step = AuditStep(
        {name: loaded.model for name, loaded in sources.items()}, pool, data, settings, policy, device, terminal,
        group, settings.batch_size,
    )  # fmt: skip

    def describe() -> dict[str, Any]:
        finished = time.time()
        return described_sources(request, sources, transform) | {
            "cost": {"passes": 0.0, "seconds": finished - started, "peak_bytes": process_peak_bytes(device)},
            "provenance": provenance.collect(settings.seed, str(device), machine(device, threads), started, finished),
        }

    return step.take(describe, request.out)


def _check(request: AuditRequest) -> None:
    """What can be refused before anything is read."""
    if request.out is None:
        return
    if request.out.exists() and not request.force:
        raise FairpruneError("already exists", where=str(request.out), hint="--force overwrites it")
    if request.out.exists() and not request.out.is_dir():
        raise FairpruneError("is not a folder", where=str(request.out), hint="give another --out")
    refuse_no_room(request.out)


def _check_dense(request: AuditRequest, policy: Policy, classes: int) -> None:
    """Refuse what needs a dense model where none is given; classes: how many the data has."""
    settings = request.resolved.settings
    relative = fairness.get(settings.notion, classes).relative
    if request.against is not None:
        return
    needs = [
        flag for flag, asked in (
            ("--max-degradation", settings.max_degradation is not None), ("--notion", relative),
            ("--show-examples", settings.show_examples > 0), ("--policy", policy.needs_dense(classes)),
        ) if asked
    ]  # fmt: skip
    if needs:
        what = "what pruning lost" if needs[0] == "--show-examples" else "degradation"
        raise FairpruneError(f"{what} needs the dense model", where=needs[0], hint="give it with --against DENSE")
