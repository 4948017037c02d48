"""The audit step of every command that has one: look at the models, judge, report. Prune and audit both end with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairprune_cli import __version__, report
from fairprune_cli.audit import to_json
from fairprune_cli.audit.changed_images import ChangedImages, changed_csv, exemplars
from fairprune_cli.audit.changes_watch import ChangesWatch
from fairprune_cli.audit.constant_answer import in_full
from fairprune_cli.audit.counts import DENSE, audit_tasks
from fairprune_cli.audit.doubt import CHANCE_LEVEL
from fairprune_cli.audit.faithfulness_json import exemplars_record
from fairprune_cli.audit.figures import AuditFigures, Judgement
from fairprune_cli.audit.gates import GateResult, Unseen, exit_code, verdict
from fairprune_cli.audit.leniency import leniencies
from fairprune_cli.audit.lost_images import lost_examples
from fairprune_cli.audit.notices import notices
from fairprune_cli.audit.other_outputs import other_outputs
from fairprune_cli.audit.policy import Policy
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.manifest.manifest import Grouping
from fairprune_cli.data.manifest.task import Task
from fairprune_cli.models.read_out import read_out_of, shift_of
from fairprune_cli.run.causes import Search, explain
from fairprune_cli.run.folder import EXEMPLARS
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
        searches: whether images are read in other ways where a model is not better than one answer to all of them.
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
    searches: bool = True

    def take(
        self, describe: Callable[[], dict[str, Any]], out: Path | None, done: Callable[[], None] = lambda: None
    ) -> Outcome:
        """Audit, judge, and write the report into `out` where it is given.

        Args:
            describe: the command's own parts of the report; called after the audit, by the first process alone.
            done: called by the first process when the report is written.
        """
        looks = self._look()
        if self.group.number:
            told, code = self.group.from_first(None)
            return Outcome(told, code, out)
        tasks = self.data.manifest.tasks
        judged = [self._judged(*look, number, out) for number, look in enumerate(looks)]
        gates = [gate for one in judged for gate in one.gates]
        overall = verdict(gates)
        document = {
            "schema_version": report.SCHEMA_VERSION, "tool_version": __version__,
            "data": _data(self.data, self.settings.split), **judged[0].record, **describe(),
            **self._verdict(gates, overall, judged[0]),
        }  # fmt: skip
        if len(judged) > 1:
            document["task"] = judged[0].task.name
            document["tasks"] = {one.task.name: self._task_record(one) for one in judged}
        if moved := self._other_outputs():
            document["other_outputs"] = moved
        if out is not None:
            if self._paired:
                changed = {task.name: (look[1], task.classes) for task, look in zip(tasks, looks, strict=True)}
                atomic_write_text(out / EXEMPLARS, changed_csv(changed, self.data.groupings, self.pool.images))
            report.write(document, out)
        done()
        outcome = Outcome(document, exit_code(overall), out)
        self.group.from_first((outcome.report, outcome.code))
        return outcome

    def _look(self) -> list[tuple[AuditResult, ChangesWatch]]:
        """One pass over the images, divided among the processes; all of them have the counts and what changed."""
        groupings, tasks = self.data.groupings, self.data.manifest.tasks
        first = next(iter(self.models.values()))
        changed = [ChangesWatch(shift_of(first, task)) for task in range(len(tasks))]
        with self.terminal.progress("auditing", len(self.pool)) as display:
            results = audit_tasks(
                {name: model.to(self.device) for name, model in self.models.items()}, self.pool, groupings,
                [task.classes for task in tasks], self.device, batch_size=self.batch_size,
                progress=lambda done, total: display.update(done), watches=changed,
                ranks=self.group, say=lambda text: self.terminal.warn(text, code="memory"),
            )  # fmt: skip
        for one in changed:
            one.merge(self.group.from_others(one.found))
        return list(zip(results, changed, strict=True))

    def _judged(self, result: AuditResult, changed: ChangedImages, number: int, out: Path | None) -> _Judged:
        """Figures and gates of a task, by its number."""
        task = self.data.manifest.tasks[number]
        figures = self._explained(result, result.figures(judgement_of(self.settings)), number)
        gates, _ = self.policy.judge(result, figures, unseen_of(self.data.groupings))
        if len(self.data.manifest.tasks) > 1:
            gates = [replace(gate, task=task.name) for gate in gates]
        record = to_json.audit_record(figures)
        if self._paired:
            listed = exemplars(changed, self.data.groupings, self.pool.images, task.classes)
            record["exemplars"] = exemplars_record(listed, None if out is None else EXEMPLARS)
        if most := self.settings.show_examples:
            examples = lost_examples(changed, self.data.groupings, most, self.pool.images, task.classes)
            record["examples"] = to_json.examples_record(examples)
        return _Judged(task, gates, record, notices(figures))

    def _explained(self, result: AuditResult, figures: AuditFigures, task: int) -> AuditFigures:
        """The figures with a word on models that are not better than one answer to all images, and a warning each."""
        search = Search(
            self.data.manifest, self.pool, self.device, self.settings.confidence, self.settings.seed, self.terminal
        )
        constant = {name: figures.models[name].constant_answer for name in figures.models}
        found = explain(search, constant, result.overall, task, self.models if self.searches else {})
        several, tasks = len(figures.models) > 1, self.data.manifest.tasks
        for name, one in found.items():
            text = in_full(one, f"the {name} model" if several else "the model")
            if name == DENSE and several:
                text += ". What other models change against it says nothing"
            self.terminal.warn(f"{tasks[task].name}: {text}" if len(tasks) > 1 else text, code=CHANCE_LEVEL)
        models = {
            name: replace(one, constant_answer=found.get(name, one.constant_answer))
            for name, one in figures.models.items()
        }
        return replace(figures, models=models)

    @property
    def _paired(self) -> bool:
        """Whether there are models beside the dense one."""
        return DENSE in self.models and len(self.models) > 1

    def _task_record(self, judged: _Judged) -> dict[str, Any]:
        return {
            "classes": list(judged.task.classes), "verdict": verdict(judged.gates), "notices": judged.notices,
            "gates": [to_json.gate_record(gate) for gate in judged.gates], **judged.record,
            "counts": _data(self.data.of_task(judged.task.name), self.settings.split)["counts"],
        }  # fmt: skip

    def _other_outputs(self) -> dict[str, Any]:
        """How far the outputs that no task uses moved from the dense model's, by model; {} where there are none."""
        dense = self.models.get(DENSE)
        read_out = None if dense is None else read_out_of(dense)
        if dense is None or read_out is None or not read_out.others:
            return {}
        with self.terminal.progress("other outputs", len(self.pool) * (len(self.models) - 1)) as display:
            return {
                name: [
                    asdict(move)
                    for move in other_outputs(
                        dense, model, self.pool, self.device, self.batch_size, lambda done, _: display.update(done)
                    )
                ]
                for name, model in self.models.items()
                if name != DENSE and read_out_of(model) == read_out
            }

    def _verdict(self, gates: Sequence[GateResult], overall: str, first: _Judged) -> dict[str, Any]:
        """Gates, notices, and the warnings of the whole command."""
        document: dict[str, Any] = {
            "gates": [to_json.gate_record(gate) for gate in gates], "verdict": overall, "notion": self.settings.notion,
        }  # fmt: skip
        if lenient := leniencies(gates, self.settings.split):
            document["leniency"] = lenient
        if self.policy.source:
            document["policy"] = {"source": self.policy.source, "sha256": self.policy.sha256}
        document["notices"] = first.notices + absent_combinations(self.data, self.settings.split)
        document["warnings"] = list(self.terminal.warnings)
        return document


@dataclass(frozen=True)
class _Judged:
    """What the audit says of a task: its gates, its parts of the report, and remarks."""

    task: Task
    gates: list[GateResult]
    record: dict[str, Any]
    notices: list[str]


def unseen_of(groupings: Sequence[Grouping]) -> dict[str, Unseen]:
    """By attribute, what the data hold of it beside the groups of the audit."""
    return {one.name: Unseen(one.absent, one.dropped) for one in groupings}


def judgement_of(settings: Settings) -> Judgement:
    """How the report's own figures are made; a policy's rules may ask for others."""
    return Judgement(
        confidence=settings.confidence, min_group=settings.min_group, seed=settings.seed, notions=(settings.notion,)
    )


def _data(data: Data, split: str) -> dict[str, Any]:
    manifest = data.manifest
    counts = manifest.counts(tuple(dict.fromkeys((*manifest.attributes, *data.attributes))))
    rule = manifest.duplicates
    return {
        "manifest": str(manifest.path), "name": manifest.name, "sha256": manifest.sha256, "split": split,
        "splits": {k: v["n"] for k, v in counts.items()}, "counts": counts,
        **({"duplicates": {"rule": rule, "images": manifest.shared}} if rule else {}),
    }  # fmt: skip
