"""What one pass over the images counted, and every figure that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from fairprune_cli.audit import metrics
from fairprune_cli.audit.calibration import Calibration, calibration_figures, filled_bins
from fairprune_cli.audit.churn import faithfulness_figures
from fairprune_cli.audit.constant_answer import against_constant_answer
from fairprune_cli.audit.faithfulness_figures import ChurnFigures, FaithfulnessFigures
from fairprune_cli.audit.figures import AuditFigures, Judgement, ModelFigures
from fairprune_cli.audit.metrics import AS_USUAL
from fairprune_cli.audit.rates import Counts


@dataclass(frozen=True)
class AuditResult:
    """Counts of one audit.

    Attributes:
        classes: names, in the order of the models' outputs.
        groups: names of the groups by attribute.
        overall: by model, int64 [K, K], label x prediction, over all images.
        by_group: by model and attribute, int64 [G, K, K], group x label x prediction.
        overall_pairs: by model other than the dense one, int64 [2, 2], dense right? x model right?
            (0 wrong, 1 right); empty without a model called "dense".
        pairs: by such a model and attribute, int64 [G, 2, 2].
        ungrouped: by attribute, the images that are in none of its groups.
        sureness: by model, sums for calibration by attribute, and over all images under ""; without them there are no
            figures of it.
        moves: by model other than the dense one and attribute, int64 [G, K, K], dense prediction x model's prediction,
            and of all images under "", [1, K, K]; without them there are no figures of faithfulness.
    """

    classes: tuple[str, ...]
    groups: dict[str, tuple[str, ...]]
    overall: dict[str, Counts]
    by_group: dict[str, dict[str, Counts]]
    overall_pairs: dict[str, Counts]
    pairs: dict[str, dict[str, Counts]]
    ungrouped: dict[str, int]
    sureness: dict[str, dict[str, Calibration]] = field(default_factory=dict)
    moves: dict[str, dict[str, Counts]] = field(default_factory=dict)

    def counts(self, model: str, attribute: str) -> Counts:
        """Group x label x prediction, int64 [G, K, K]."""
        return self.by_group[model][attribute]

    def pair_counts(self, model: str, attribute: str) -> Counts:
        """Group x dense right? x model right?, int64 [G, 2, 2]."""
        return self.pairs[model][attribute]

    def figures(self, judgement: Judgement = AS_USUAL) -> AuditFigures:
        """Every figure of the report, as the judgement asks for them."""
        over_all = replace(judgement, family=max(len(self.groups), 1))
        return AuditFigures(judgement, {model: self._model(model, over_all) for model in self.overall})

    def _model(self, model: str, judgement: Judgement) -> ModelFigures:
        counts = self.overall[model]
        n, correct = int(counts.sum()), int(np.trace(counts))
        against = self.overall_pairs.get(model)
        degradation = {
            attribute: metrics.degradation_figures(tables, self.groups[attribute], judgement, len(self.classes))
            for attribute, tables in self.pairs.get(model, {}).items()
        }
        sums = self.sureness.get(model)
        how = (judgement.confidence, judgement.min_group, judgement.seed)
        return ModelFigures(
            n,
            correct,
            metrics.accuracy_figure(correct, n, judgement.confidence),
            {name: int(times) for name, times in zip(self.classes, counts.sum(0), strict=True)},
            {
                attribute: metrics.attribute_figures(
                    table, self.groups[attribute], self.classes, self.ungrouped[attribute], judgement,
                    degradation.get(attribute), None if sums is None else calibration_figures(sums[attribute], *how),
                )
                for attribute, table in self.by_group[model].items()
            },
            None if against is None else metrics.change_figures(against[None], judgement.confidence)[0],
            degradation,
            None if sums is None else calibration_figures(sums[""], *how)[0],
            () if sums is None else tuple(filled_bins(sums[""])),
            against_constant_answer(counts, self.classes, judgement.confidence),
            *self._faithfulness(model, judgement),
        )  # fmt: skip

    def _faithfulness(
        self, model: str, judgement: Judgement
    ) -> tuple[ChurnFigures | None, dict[str, FaithfulnessFigures]]:
        """Over all images, and by attribute."""
        if model not in self.moves:
            return None, {}
        pairs = {**self.pairs[model], "": self.overall_pairs[model][None]}
        found = {
            attribute: faithfulness_figures(moves, pairs[attribute], self.groups.get(attribute, ("",)), judgement)
            for attribute, moves in self.moves[model].items()
        }
        return found.pop("").groups[""], found
