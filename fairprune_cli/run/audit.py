"""An audit of models as they are: look, judge, report, change nothing."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fairprune_cli.audit.policy import Policy, policy_of
from fairprune_cli.core import distributed as ranks
from fairprune_cli.core import provenance
from fairprune_cli.core.device import choose_device, machine, process_peak_bytes, repeatable, set_threads
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.run.audit_checks import plan_of, refuse_without_dense, report_place
from fairprune_cli.run.audit_points import points_of_sources, refuse_without_points
from fairprune_cli.run.audit_report import Outcome
from fairprune_cli.run.audit_sources import (
    AuditRequest,
    common_transform,
    described_sources,
    open_sources,
    refuse_itself,
)
from fairprune_cli.run.audit_step import AuditStep
from fairprune_cli.run.foreseen import refuse_gates_without_groups
from fairprune_cli.run.inputs import decoded_images
from fairprune_cli.run.opened_data import open_data, parted_data
from fairprune_cli.run.plug_ins import refuse_broken_plug_ins

if TYPE_CHECKING:
    import torch


def audit(request: AuditRequest, terminal: Terminal) -> Outcome:
    """Audit one model or several on the same images, alone or against the dense one they came from.

    Several processes divide the images among them.
    """
    device = choose_device(request.resolved.settings.device)
    with ranks.joined(device) as group, ExitStack() as held:
        with group.together():
            policy = policy_of(request.resolved.settings)
            if group.number == 0:
                held.enter_context(report_place(request.out, request.force, request.resolved.settings, request.dry_run))
        return _audit(request, policy, terminal, device, group)


def _audit(
    request: AuditRequest, policy: Policy, terminal: Terminal, device: torch.device, group: ranks.Ranks
) -> Outcome:
    settings = request.resolved.settings
    started = time.time()
    with group.together():
        threads = set_threads(settings.threads)
        repeatable(device)
        refuse_without_points(request)
        first = next((path for path in request.models if path not in request.in_memory), None)
        data = open_data(settings, first, terminal, True, settings.split).with_attributes(policy.attributes)
        refuse_gates_without_groups(policy, data)
        refuse_broken_plug_ins(*(len(task.classes) for task in data.manifest.tasks))
        if request.against is None:
            refuse_without_dense(settings, policy, len(data.manifest.classes), "--against DENSE")
        data.rows_to_audit(settings.split)  # fails here, before models and images are read
        sources = open_sources(request, data, terminal)
        refuse_itself(sources, policy, len(data.manifest.classes))
        transform = common_transform(sources, data, terminal)
        points = points_of_sources(sources, data, terminal) if settings.group_thresholds else {}
        data = parted_data(data, terminal, settings.split)
        refuse_gates_without_groups(policy, data)
        rows = data.rows_to_audit(settings.split)
    if request.dry_run:
        plan = plan_of({name: str(loaded.source) for name, loaded in sources.items()}, data, settings, policy)
        return Outcome(plan | {"device": str(device)}, ExitCode.OK)
    with group.together():
        pool = decoded_images(data, transform, terminal, rows).pool(rows)
    step = AuditStep(
        {name: loaded.model for name, loaded in sources.items()}, pool, data, settings, policy, device, terminal,
        group, settings.batch_size, points=points, judged=bool(points),
    )  # fmt: skip

    def describe() -> dict[str, Any]:
        finished = time.time()
        return described_sources(request, sources, transform) | {
            "cost": {"passes": 0.0, "seconds": finished - started, "peak_bytes": process_peak_bytes(device)},
            "provenance": provenance.collect(settings.seed, str(device), machine(device, threads), started, finished),
        }

    return step.take(describe, request.out)
