"""The audit step of every command that has one: look at the models, judge, report. Prune and audit both end with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fairprune_cli.audit.changes_watch import ChangesWatch
from fairprune_cli.audit.counts import audit_tasks
from fairprune_cli.audit.doubt import ConstantAnswer
from fairprune_cli.audit.group_counts import DENSE
from fairprune_cli.audit.logits import Seen
from fairprune_cli.audit.lost_images import lost_examples
from fairprune_cli.audit.other_outputs import other_outputs
from fairprune_cli.audit.points_in_use import PointsInUse, PointsTally
from fairprune_cli.audit.policy import Policy
from fairprune_cli.audit.rates import Counts
from fairprune_cli.audit.result import AuditResult
from fairprune_cli.core.distributed import Ranks
from fairprune_cli.core.terminal import Terminal
from fairprune_cli.data.batches.pool import Pool
from fairprune_cli.data.manifest.manifest import Manifest
from fairprune_cli.models.file.group_points import GroupPoints
from fairprune_cli.models.read_out import read_out_of, shift_of
from fairprune_cli.run.audit_report import AuditReport, Counted, Outcome, judgement_of
from fairprune_cli.run.cause_search import Search
from fairprune_cli.run.opened_data import Data
from fairprune_cli.run.options import Settings


@dataclass(frozen=True)
class AuditStep:
    """What is audited and how it is judged.

    Attributes:
        models: by the name they have in the report; one called "dense" is what the others are paired with.
        pool: the images that are looked at, with the groupings of `data`.
        group: processes that share the images; all of them take the step, the first one reports.
        points: thresholds of groups by model, of each task; judged: whether predictions are made with them, or they
            are only held against the common threshold.
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
    points: Mapping[str, Sequence[PointsInUse | None]] = field(default_factory=dict)
    judged: bool = False

    def take(
        self, describe: Callable[[], dict[str, Any]], out: Path | None, done: Callable[[], None] = lambda: None
    ) -> Outcome:
        """Audit, judge, and write the report into `out` where it is given.

        Args:
            describe: the command's own parts of the report; called after the audit, by the first process alone.
            done: called by the first process when the report is written.
        """
        tallies = self._tallies()
        looks = self._look(tallies)
        if self.group.number:
            told, code = self.group.from_first(None)
            return Outcome(told, code, out)

        def others() -> dict[str, Any]:
            moved = self._other_outputs()
            return {"other_outputs": moved} if moved else {}

        outcome = AuditReport(self.data, self.settings, self.policy, self.terminal, self._explained).of(
            self._counted(looks, tallies), describe, out, others, done
        )
        self.group.from_first((outcome.report, outcome.code))
        return outcome

    def _tallies(self) -> list[dict[str, PointsTally]]:
        """Of each task, by model, where thresholds of groups are held against the common one."""
        tasks = range(len(self.data.manifest.tasks))
        return [
            {name: PointsTally(use) for name, uses in self.points.items() if (use := uses[task]) is not None}
            for task in tasks
        ]

    def _look(self, tallies: list[dict[str, PointsTally]]) -> list[tuple[AuditResult, ChangesWatch]]:
        """One pass over the images, divided among the processes; all of them have the counts and what changed."""
        groupings, tasks = self.data.groupings, self.data.manifest.tasks
        first = next(iter(self.models.values()))
        used = [{name: tally.use for name, tally in own.items()} if self.judged else {} for own in tallies]
        changed = [ChangesWatch(shift_of(first, task), used[task]) for task in range(len(tasks))]
        with self.terminal.progress("auditing", len(self.pool)) as display:
            results = audit_tasks(
                {name: model.to(self.device) for name, model in self.models.items()}, self.pool, groupings,
                [task.classes for task in tasks], self.device, batch_size=self.batch_size,
                progress=lambda done, total: display.update(done), 
                watches=[_watching(*both) for both in zip(changed, tallies, strict=True)],
                ranks=self.group, say=lambda text: self.terminal.warn(text, code="memory"), points=used,
            )  # fmt: skip
        tables = [table for own in tallies for tally in own.values() for table in tally.tables()]
        self.group.add_counts([torch.from_numpy(table) for table in tables])
        for one in changed:
            one.merge(self.group.from_others(one.found))
        return list(zip(results, changed, strict=True))

    def _counted(
        self, looks: list[tuple[AuditResult, ChangesWatch]], tallies: list[dict[str, PointsTally]]
    ) -> list[Counted]:
        """What was looked at, with pictures of the images that were lost, where such were asked for."""
        images, most, found = self.pool.images, self.settings.show_examples, []
        paired = DENSE in self.models and len(self.models) > 1
        judgement = judgement_of(self.settings)
        for task, (result, changed), own in zip(self.data.manifest.tasks, looks, tallies, strict=True):
            shown = lost_examples(changed, self.data.groupings, most, images, task.classes) if most else None
            points = {name: tally.figures(judgement, self.judged) for name, tally in own.items()}
            found.append(Counted(result, shown, changed if paired else None, images, points))
        return found

    def _explained(self, found: ConstantAnswer, counts: Counts, task: int, model: str) -> ConstantAnswer:
        """Why a model is not better than one answer to all images, looked for with other readings of some."""
        search = Search(
            self.data.manifest, self.pool, self.device, self.settings.confidence, self.settings.seed, self.terminal
        )
        return search.explained(found, counts, task, self.models[model] if self.searches else None)

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


def points_in_use(points: Sequence[GroupPoints], manifest: Manifest) -> list[PointsInUse | None]:
    """Of each task of the manifest: the points of its name with its classes, and the groups of the images.

    Raises:
        FairpruneError: the manifest has no such attribute.
    """
    found: list[PointsInUse | None] = []
    for task in manifest.tasks:
        own = [one for one in points if one.classes == task.classes]
        own = [one for one in own if one.task == task.name] or own
        if len(own) != 1:
            found.append(None)
            continue
        grouping = manifest.grouping(own[0].attribute)
        found.append(PointsInUse(own[0], grouping.groups, grouping.index))
    return found


def _watching(
    changed: ChangesWatch, tallies: Mapping[str, PointsTally]
) -> Callable[[Seen, Mapping[str, Tensor]], None]:
    """Look on with all of them."""

    def watch(images: Seen, scores: Mapping[str, Tensor]) -> None:
        changed(images, scores)
        for name, tally in tallies.items():
            tally.look(images, scores[name])

    return watch
