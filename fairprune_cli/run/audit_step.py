"""The audit step of every command that has one: look at the models, judge, report. Prune and audit both end with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairprune_cli import __version__, report
from fairprune_cli.audit import to_json
from fairprune_cli.audit.counts import audit_models
from fairprune_cli.audit.figures import AuditFigures, Judgement
from fairprune_cli.audit.gates import GateResult, exit_code
from fairprune_cli.audit.lost_images import LostImages
from fairprune_cli.audit.notices import notices
from fairprune_cli.audit.policy import Policy
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.run.inputs import Data, absent_combinations
from fairprune_cli.run.options import Settings


@dataclass(frozen=True)
class Outcome:
    """The report of a command and its exit code."""

    report: dict[str, Any]
    code: ExitCode
    folder: Path | None = None


@dataclass(frozen=True)
class AuditStep:
    """What is audited and how it is judged.

    Attributes:
        models: by the name they have in the report; one called "dense" is what the others are paired with.
        pool: the images that are looked at, with the groupings of `data`.
        group: processes that share the images; all of them take the step, the first one reports.
    """

    models: Mapping[str, nn.Module]
    pool: Pool
    data: Data
    settings: Settings
    policy: Policy
    device: torch.device
    terminal: Terminal
    group: Ranks
    batch_size: int = 256

    def take(
        self, describe: Callable[[], dict[str, Any]], out: Path | None, done: Callable[[], None] = lambda: None
    ) -> Outcome:
        """Audit, judge, and write the report into `out` where it is given.

        Args:
            describe: the command's own parts of the report; called after the audit, by the first process alone.
            done: called by the first process when the report is written.
        """
        result, lost = self._look()
        if self.group.number:
            told, code = self.group.from_first(None)
            return Outcome(told, code, out)
        figures = result.figures(judgement_of(self.settings))
        gates, verdict = self.policy.judge(result, figures)
        document = {
            "schema_version": report.SCHEMA_VERSION, "tool_version": __version__,
            "data": _data(self.data, self.settings.split), **to_json.audit_record(figures), **describe(),
            **self._verdict(gates, verdict, figures),
        }  # fmt: skip
        if lost is not None:
            document["examples"] = to_json.examples_record(lost.examples(self.pool.images, self.data.manifest.classes))
        if out is not None:
            report.write(document, out)
        done()
        outcome = Outcome(document, exit_code(verdict), out)
        self.group.from_first((outcome.report, outcome.code))
        return outcome

    def _look(self) -> tuple[AuditResult, LostImages | None]:
        """One pass over the images, divided among the processes; all of them have the counts and the lost images."""
        settings, groupings = self.settings, self.data.groupings
        lost = LostImages(groupings, settings.show_examples) if settings.show_examples else None
        with self.terminal.progress("auditing", len(self.pool)) as display:
            result = audit_models(
                {name: model.to(self.device) for name, model in self.models.items()}, self.pool, groupings,
                self.data.manifest.classes, self.device, batch_size=self.batch_size,
                progress=lambda done, total: display.update(done), watch=lost, ranks=self.group,
                say=lambda text: self.terminal.warn(text, code="memory"),
            )  # fmt: skip
        if lost is not None:
            lost.merge(self.group.from_others(lost.found))
        return result, lost

    def _verdict(self, gates: Sequence[GateResult], verdict: str, figures: AuditFigures) -> dict[str, Any]:
        """Gates, notices, and the warnings of the whole command."""
        document: dict[str, Any] = {
            "gates": [to_json.gate_record(gate) for gate in gates], "verdict": verdict, "notion": self.settings.notion,
        }  # fmt: skip
        if self.policy.source:
            document["policy"] = {"source": self.policy.source, "sha256": self.policy.sha256}
        document["notices"] = notices(figures) + absent_combinations(self.data, self.settings.split)
        document["warnings"] = list(self.terminal.warnings)
        return document


def judgement_of(settings: Settings) -> Judgement:
    """How the report's own figures are made; a policy's rules may ask for others."""
    return Judgement(
        confidence=settings.confidence, min_group=settings.min_group, seed=settings.seed, notions=(settings.notion,)
    )


def _data(data: Data, split: str) -> dict[str, Any]:
    manifest = data.manifest
    counts = manifest.counts(tuple(dict.fromkeys((*manifest.attributes, *data.attributes))))
    return {
        "manifest": str(manifest.path), "name": manifest.name, "sha256": manifest.sha256, "split": split,
        "splits": {k: v["n"] for k, v in counts.items()}, "counts": counts,
    }  # fmt: skip
