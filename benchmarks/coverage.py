"""How often the intervals of gaps hold, by simulation, with the naive bootstrap of max minus min as contrast.

    python benchmarks/coverage.py [--trials 2000] [--out benchmarks/results/coverage.json]

Each row is a setting of groups with known true rates. `holds` is the share of trials in which the interval
contains the true gap, `alarms` the share in which a gate whose bound is the true gap fails. The first should
be at least the stated confidence, the second at most 1 - confidence; a row that comes within a point of either
is drawn ten times as often, so that the extremes of the table are not those of the simulation. Where the true
gap is 0, `holds` is also the share in which the intervals of all pairs hold at once.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fairprune_cli.audit import intervals, simultaneous
from fairprune_cli.core.files import atomic_write_text

CONFIDENCE = 0.95
SIZES = {
    2: ([40, 40], [200, 200], [1000, 1000], [5000, 5000], [40, 5000], [200, 1000]),
    4: ([40] * 4, [200] * 4, [1000] * 4, [5000] * 4, [40, 200, 1000, 5000]),
    8: ([40] * 8, [200] * 8, [1000] * 8, [5000] * 8, [40, 40, 200, 200, 1000, 1000, 5000, 5000]),
}
BASES = (0.8, 0.95)
GAPS = (0.0, 0.05)

Interval = tuple[float, float]


@dataclass(frozen=True)
class Row:
    kind: str
    groups: int
    sizes: list[int]
    base: float
    true_gap: float
    holds: float
    alarms: float
    width: float
    trials: int
    naive_holds: float | None = None
    naive_alarms: float | None = None


def naive(k: NDArray[np.int64], n: NDArray[np.int64], rng: np.random.Generator, draws: int = 500) -> Interval:
    """Percentile bootstrap of max minus min: what not to do."""
    rates = rng.binomial(n[:, None], (k / n)[:, None], size=(len(n), draws)) / n[:, None]
    gaps = rates.max(0) - rates.min(0)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(gaps, [tail, 1 - tail])
    return float(low), float(high)


def tally(truth: float, draw: Callable[[], Interval], trials: int, close: int = 0) -> tuple[float, float, float, int]:
    """Shares of trials in which the interval holds and lies above the truth, its mean width, and the trials.

    With `close`, a share within a point of what is permitted is measured with `close` times as many trials.
    """
    found = np.array([draw() for _ in range(trials)])
    low, high = found[:, 0], found[:, 1]
    holds = (low <= truth + 1e-12) & (truth <= high + 1e-12)
    alarms = low > truth + 1e-12
    if close and (holds.mean() < CONFIDENCE + 0.01 or alarms.mean() > 1 - CONFIDENCE - 0.01):
        return tally(truth, draw, close * trials)
    return float(holds.mean()), float(alarms.mean()), float((high - low).mean()), trials


def bounds(gap: simultaneous.Gap | intervals.Extreme | None) -> Interval:
    assert gap is not None
    return gap.low, gap.high


def settings() -> Iterator[tuple[int, NDArray[np.int64], float, float]]:
    for groups, choices in SIZES.items():
        for sizes in choices:
            for base in BASES:
                for gap in GAPS:
                    yield groups, np.array(sizes), base, gap


def rates(trials: int, rng: np.random.Generator) -> Iterator[Row]:
    """Gap of accuracies; the smallest group is the worse one."""
    for groups, n, base, gap in settings():
        p = np.full(groups, base)
        p[0] -= gap
        ours = tally(gap, lambda n=n, p=p: bounds(simultaneous.pairwise(rng.binomial(n, p), n, CONFIDENCE)), trials, 10)
        other = tally(gap, lambda n=n, p=p: naive(rng.binomial(n, p), n, rng), trials)
        yield Row("accuracy gap", groups, n.tolist(), base, gap, *ours, *other[:2])


def odds(trials: int, rng: np.random.Generator) -> Iterator[Row]:
    """Equalized odds: the larger of two gaps, with denominators of their own, and one interval for both."""
    for groups, n, base, gap in settings():
        tpr, fpr = np.full(groups, base), np.full(groups, 1 - base)
        tpr[0] -= gap

        def draw(n: NDArray[np.int64] = n, tpr: NDArray[np.float64] = tpr, fpr: NDArray[np.float64] = fpr) -> Interval:
            return bounds(simultaneous.joint([(rng.binomial(n, tpr), n), (rng.binomial(n, fpr), n)], CONFIDENCE))

        yield Row("odds gap", groups, n.tolist(), base, gap, *tally(gap, draw, trials, 10))


def changes(trials: int, rng: np.random.Generator) -> Iterator[Row]:
    """Dense against pruned on the same images: gap of degradations, and the largest degradation."""
    for groups, n, base, gap in settings():
        lost = np.full(groups, 1 - base) * 0.4  # harder data, more images that change sides
        gained = lost.copy()
        lost[0] += gap

        def table(
            n: NDArray[np.int64] = n, lost: NDArray[np.float64] = lost, gained: NDArray[np.float64] = gained
        ) -> NDArray[np.int64]:
            cells = np.zeros((len(n), 2, 2), np.int64)
            for g, size in enumerate(n):
                cells[g, 1, 0], cells[g, 0, 1], cells[g, 1, 1] = rng.multinomial(
                    size, [lost[g], gained[g], 1 - lost[g] - gained[g]]
                )
            return cells

        of_gap = tally(gap, lambda table=table: bounds(simultaneous.paired(table(), CONFIDENCE)), trials, 10)
        yield Row("degradation gap", groups, n.tolist(), base, gap, *of_gap)
        of_worst = tally(gap, lambda table=table: bounds(intervals.largest_loss(table(), CONFIDENCE)), trials, 10)
        yield Row("largest loss", groups, n.tolist(), base, gap, *of_worst)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "coverage.json")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    started = time.monotonic()
    print(f"{'':16}{'sizes':44}{'base':>6}{'gap':>6}{'holds':>8}{'alarms':>8}{'width':>8}   naive: holds, alarms")
    found: list[Row] = []
    for family in (rates, odds, changes):
        for row in family(options.trials, rng):
            found.append(row)
            contrast = "" if row.naive_holds is None else f"{row.naive_holds:15.3f}{row.naive_alarms:8.3f}"
            print(
                f"{row.kind:16}{' '.join(map(str, row.sizes)):44}{row.base:6}{row.true_gap:6}"
                f"{row.holds:8.4f}{row.alarms:8.4f}{row.width:8.3f}{contrast}",
                flush=True,
            )
    document = {
        "confidence": CONFIDENCE,
        "trials": options.trials,
        "seed": options.seed,
        "seconds": round(time.monotonic() - started, 1),
        "least_holds": min(row.holds for row in found),
        "most_alarms": max(row.alarms for row in found),
        "rows": [asdict(row) for row in found],
    }
    atomic_write_text(options.out, json.dumps(document, indent=1) + "\n")
    print(
        f"held at least {document['least_holds']:.4f}, alarms at most {document['most_alarms']:.4f}; "
        f"written to {options.out}"
    )


if __name__ == "__main__":
    main()
