"""The dense model is looked at before any training: to prune one that is at chance level would be hours for nothing."""

from __future__ import annotations

import numpy as np

from fairprune_cli.audit.constant_answer import better, in_full
from fairprune_cli.audit.counts import audit_tasks
from fairprune_cli.audit.doubt import CHANCE_LEVEL, ConstantAnswer
from fairprune_cli.audit.group_counts import DENSE
from fairprune_cli.core.errors import ExitCode, FairpruneError
from fairprune_cli.data.batches.pool import ImageSet
from fairprune_cli.run.audit_report import judgement_of
from fairprune_cli.run.cause_search import Search
from fairprune_cli.run.inputs import decoded_images
from fairprune_cli.run.prepare import Prepared

LEAST, MOST = 200, 1000  # images: with fewer in val those of train help, of more some are chosen
ENOUGH = 100  # images; of fewer, only a model that is worse than one answer stops the run


def look_at_dense(run: Prepared, images: ImageSet | None = None) -> None:
    """Hold the dense model against one answer to all images, on val (and train where val is small), never on test.

    A model that is not better is warned of, with the likely causes. Where gates are asked for, which it could not pass,
    the run ends.

    Args:
        images: that are decoded already; those that are looked at where None.

    Raises:
        FairpruneError: it is not better, and gates are asked for (exit code 4).
    """
    rows = _rows(run)
    if images is None:
        images = decoded_images(run.data, run.transform, run.terminal, rows)
    pool, tasks = images.regrouped(()).pool(rows), run.data.manifest.tasks
    results = audit_tasks({DENSE: run.dense}, pool, (), [task.classes for task in tasks], run.device)
    settings = run.settings
    search = Search(run.data.manifest, pool, run.device, settings.confidence, settings.seed, run.terminal)
    for number, (task, result) in enumerate(zip(tasks, results, strict=True)):
        found = result.figures(judgement_of(settings)).models[DENSE].constant_answer
        if found is None or better(found, settings.point_estimate):
            continue
        found = search.explained(found, result.overall[DENSE], number, run.dense)
        text = f"before training, on images of {_splits(run, rows)}: {in_full(found, 'the dense model')}"
        text = f"{task.name}: {text}" if task.name else text
        if run.policy.rules and _stops(found):
            raise FairpruneError(
                text, where=str(run.loaded.source), code=ExitCode.INCONCLUSIVE,
                hint="what is pruned from it would pass no gate; leave the gates out to prune it all the same",
            )  # fmt: skip
        run.terminal.warn(text, code=CHANCE_LEVEL)


def _rows(run: Prepared) -> np.ndarray:
    """Positions in the manifest, int64 [n], ascending."""
    generator = np.random.default_rng(run.settings.seed)
    val = generator.permutation(run.data.rows("val"))[:MOST]
    train = generator.permutation(run.data.rows("train"))[: max(LEAST - len(val), 0)]
    return np.sort(np.concatenate([val, train]))


def _splits(run: Prepared, rows: np.ndarray) -> str:
    return "val and train" if np.isin(rows, run.data.rows("train")).any() else "val"


def _stops(found: ConstantAnswer) -> bool:
    """Whether a run with gates ends: a few images that do not show a model to be better are no reason."""
    return found.n >= ENOUGH or found.high < found.share
