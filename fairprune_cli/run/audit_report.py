"""What an audit's counts come to: judged, and put into the report's document; torch is not needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fairprune_cli import __version__, report
from fairprune_cli.audit import to_json
from fairprune_cli.audit.changed_images import ChangedImages, Images, changed_csv, exemplars
from fairprune_cli.audit.constant_answer import in_full
from fairprune_cli.audit.doubt import CHANCE_LEVEL, ConstantAnswer
from fairprune_cli.audit.faithfulness_json import exemplars_record
from fairprune_cli.audit.figures import AuditFigures, Examples, Judgement
from fairprune_cli.audit.gates import GateResult, Unseen, exit_code, verdict
from fairprune_cli.audit.group_counts import DENSE
from fairprune_cli.audit.leniency import leniencies
from fairprune_cli.audit.notices import notices
from fairprune_cli.audit.points_in_use import PointsFigures
from fairprune_cli.audit.points_json import points_record, used_points
from fairprune_cli.audit.policy import Policy
from fairprune_cli.audit.rates import Counts
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.errors import ExitCode
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.manifest.manifest import Grouping
from fairprune_cli.data.manifest.task import Task
from fairprune_cli.run.folder import EXEMPLARS, REPORT
from fairprune_cli.run.opened_data import Data, absent_combinations
from fairprune_cli.run.options import Settings


@dataclass(frozen=True)
class Outcome:
    """The report of a command and its exit code."""

    report: dict[str, Any]
    code: ExitCode
    folder: Path | None = None


# Of a model that is not better than one answer to all images: its counts, label x prediction, the task's number and its
# name, to what would make it better.
Explain = Callable[[ConstantAnswer, Counts, int, str], ConstantAnswer]


@dataclass(frozen=True)
class Counted:
    """What was counted of a task.

    Attributes:
        examples: the images to show, where such were asked for.
        changed: those whose prediction is not the dense model's, where there are models beside it; `images` names them.
        points: what thresholds of groups do, by model that has them.
    """

    result: AuditResult
    examples: Examples | None = None
    changed: ChangedImages | None = None
    images: Images | None = None
    points: Mapping[str, PointsFigures] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditReport:
    """How counts of the images of `data` are judged and told; `explain` looks for why a model is at chance level."""

    data: Data
    settings: Settings
    policy: Policy
    terminal: Terminal
    explain: Explain

    def of(
        self, counted: Sequence[Counted], describe: Callable[[], Mapping[str, Any]], out: Path | None,
        more: Callable[[], Mapping[str, Any]] = dict, done: Callable[[], None] = lambda: None,
    ) -> Outcome:  # fmt: skip
        """Judge, and write the report into `out` where it is given.

        Args:
            counted: of each task of the data.
            describe: the command's own parts of the report; called once everything is judged.
            more: further parts, which come last.
            done: called when the report is written.
        """
        judged = [self._judged(one, number) for number, one in enumerate(counted)]
        gates = [gate for one in judged for gate in one.gates]
        overall = verdict(gates)
        document = {
            "schema_version": report.SCHEMA_VERSION, "tool_version": __version__,
            "data": _data(self.data, self.settings.split), **judged[0].record, **describe(),
            **self._verdict(gates, overall, judged),
        }  # fmt: skip
        if len(judged) > 1:
            document["task"] = judged[0].task.name
            document["tasks"] = {one.task.name: self._task_record(one) for one in judged}
        document.update(more())
        if out is not None:
            self._list_changed(counted, out)
            report.write(document, out)
        done()
        return Outcome(document, exit_code(overall), out)

    def _list_changed(self, counted: Sequence[Counted], out: Path) -> None:
        """Write the table of changed images where it is asked for; that of a report that is replaced goes."""
        found = {
            task.name: (one.changed, task.classes)
            for task, one in zip(self.data.manifest.tasks, counted, strict=True) if one.changed is not None
        }  # fmt: skip
        images = counted[0].images
        if self.settings.list_changed and found and images is not None:
            atomic_write_text(out / EXEMPLARS, changed_csv(found, self.data.groupings, images))
        elif (out / REPORT).exists():
            (out / EXEMPLARS).unlink(missing_ok=True)

    def _judged(self, counted: Counted, number: int) -> _Judged:
        """Figures and gates of a task, by its number."""
        task, result = self.data.manifest.tasks[number], counted.result
        figures = self._doubted(result, result.figures(judgement_of(self.settings)), number)
        gates, _ = self.policy.judge(result, figures, unseen_of(self.data.groupings))
        if len(self.data.manifest.tasks) > 1:
            gates = [replace(gate, task=task.name) for gate in gates]
        record = to_json.audit_record(figures)
        if counted.changed is not None and counted.images is not None:
            listed = exemplars(counted.changed, self.data.groupings, counted.images, task.classes)
            record["exemplars"] = exemplars_record(listed, EXEMPLARS if self.settings.list_changed else None)
        if counted.examples is not None:
            record["examples"] = to_json.examples_record(counted.examples)
        if counted.points:
            record["group_thresholds"] = {name: points_record(of) for name, of in counted.points.items()}
        with_points = tuple(of.points.attribute for of in counted.points.values() if of.judged)
        return _Judged(task, gates, record, notices(figures) + used_points(counted.points), with_points)

    def _doubted(self, result: AuditResult, figures: AuditFigures, number: int) -> AuditFigures:
        """The figures with a word on models that are not better than one answer to all images, and a warning each."""
        several, tasks, models = len(figures.models) > 1, self.data.manifest.tasks, dict(figures.models)
        for name, one in figures.models.items():
            if one.constant_answer is None or one.constant_answer.better:
                continue
            found = self.explain(one.constant_answer, result.overall[name], number, name)
            models[name] = replace(one, constant_answer=found)
            text = in_full(found, f"the {name} model" if several else "the model")
            if name == DENSE and several:
                text += ". What other models change against it says nothing"
            self.terminal.warn(f"{tasks[number].name}: {text}" if len(tasks) > 1 else text, code=CHANCE_LEVEL)
        return replace(figures, models=models)

    def _task_record(self, judged: _Judged) -> dict[str, Any]:
        return {
            "classes": list(judged.task.classes), "verdict": verdict(judged.gates), "notices": judged.notices,
            "gates": [to_json.gate_record(gate) for gate in judged.gates], **judged.record,
            "counts": _data(self.data.of_task(judged.task.name), self.settings.split)["counts"],
        }  # fmt: skip

    def _verdict(self, gates: Sequence[GateResult], overall: str, judged: Sequence[_Judged]) -> dict[str, Any]:
        """Gates, notices, and the warnings of the whole command."""
        document: dict[str, Any] = {
            "gates": [to_json.gate_record(gate) for gate in gates], "verdict": overall, "notion": self.settings.notion,
        }  # fmt: skip
        used = dict.fromkeys(attribute for one in judged for attribute in one.with_points)
        if lenient := leniencies(gates, self.settings.split, tuple(used)):
            document["leniency"] = lenient
        if self.policy.source:
            document["policy"] = {"source": self.policy.source, "sha256": self.policy.sha256}
        document["notices"] = judged[0].notices + absent_combinations(self.data, self.settings.split)
        document["warnings"] = list(self.terminal.warnings)
        return document


@dataclass(frozen=True)
class _Judged:
    """What the audit says of a task: its gates, its parts of the report, and remarks.

    `with_points` are the attributes whose groups' thresholds the predictions were made with.
    """

    task: Task
    gates: list[GateResult]
    record: dict[str, Any]
    notices: list[str]
    with_points: tuple[str, ...] = ()


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
    groups = next(iter(counts.values()))["attributes"]
    rule = manifest.duplicates
    return {
        "manifest": str(manifest.path), "name": manifest.name, "sha256": manifest.sha256, "split": split,
        "splits": {k: v["n"] for k, v in counts.items()}, "counts": counts, "classes": list(manifest.classes),
        # Lists, since the keys of report.json are sorted.
        "attributes": [{"name": name, "groups": list(of)} for name, of in groups.items()],
        **({"duplicates": {"rule": rule, "images": manifest.shared}} if rule else {}),
    }  # fmt: skip
