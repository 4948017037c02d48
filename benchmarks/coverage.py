"""How often the intervals hold that gates are judged by, by simulation, for every kind of gate and headline change.

    python benchmarks/coverage.py [--trials 2000] [--only max-gap] [--out benchmarks/results/coverage.json]

Each row is a kind of figure in a setting of groups with known true rates. `holds` is the share of trials in which the
interval contains the truth. A gate stands exactly at the truth: `alarms` is the share in which it fails, `passes` the
share in which it passes. The first should be at least the stated confidence, the others at most what that leaves. A
row that comes within half a point of either is drawn four times as often, and again, up to `--finest` trials, so that
the extremes of the table are not those of the simulation. For the gap of accuracies the percentile bootstrap of max
minus min stands beside it, as what not to do.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fairprune_cli.audit import gap_changes, intervals, simultaneous
from fairprune_cli.audit.outcomes import losses_of, shares_of
from fairprune_cli.audit.rates import Rate, rates_of
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.fairness import notions

CONFIDENCE = 0.95
CLOSE, FINER = 0.005, 4

LEAST = 30
CLASSES = ("no", "yes")
GROUPS = (2, 3, 6, 12)
BASES = (0.5, 0.8, 0.95, 0.99)
# Difference between the worse groups and the others, and how many of them are worse.
GAPS = {"none": (0.0, 0.0), "one worse": (0.05, 0.0), "half worse": (0.1, 0.5)}

Counts = NDArray[np.int64]
Rates = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """Groups with their sizes [G], the accuracy of the better ones, and which of `GAPS` lies between them."""

    sizes: Counts
    base: float
    gap: str

    @property
    def worse(self) -> Rates:
        """By how much a group's figure is worse."""
        size, share = GAPS[self.gap]
        return np.where(np.arange(len(self.sizes)) < max(share * len(self.sizes), 1), size, 0.0)


@dataclass(frozen=True)
class Found:
    """The true figure, and the intervals of every trial. `floor`: a gate asks for at least, not for at most."""

    truth: float
    low: Rates
    high: Rates
    floor: bool = False


@dataclass(frozen=True)
class Row:
    kind: str
    groups: int
    sizes: list[int]
    base: float
    gap: str
    truth: float
    holds: float
    alarms: float
    passes: float
    width: float
    trials: int


Kind = Callable[[Setting, int, np.random.Generator], Found]


def settings() -> Iterator[Setting]:
    for groups in GROUPS:
        mixed = np.geomspace(LEAST, 5000, groups).astype(np.int64)
        for sizes in (*(np.full(groups, n) for n in (LEAST, 300, 5000)), mixed, mixed[::-1]):
            for base in BASES:
                for gap in GAPS:
                    yield Setting(sizes, base, gap)


def answers(setting: Setting, trials: int, rng: np.random.Generator, selection: bool, by_label: bool) -> Counts:
    """Images by group, label and prediction, [trials, G, 2, 2]; `sizes` are those of a group, or of a label.

    A worse group finds fewer of the positive class; of the negative it has more wrong, or where the share that is
    predicted positive is looked at (`selection`) more right.
    """
    cells = chances(setting, selection)
    n = setting.sizes
    if by_label:
        wrong = cells[..., 1] / cells.sum(-1)
        drawn = rng.binomial(n[:, None], wrong, (trials, len(n), 2))
        return np.stack([n[:, None] - drawn, drawn], -1)
    flat = [rng.multinomial(size, p.ravel(), trials) for size, p in zip(n, cells, strict=True)]
    return np.stack(flat, 1).reshape(trials, len(n), 2, 2)


def chances(setting: Setting, selection: bool) -> Rates:
    """Probabilities of label x prediction, [G, 2, 2]; half of the images have either label."""
    found = setting.base - setting.worse
    alarms = np.clip(1 - setting.base + setting.worse * (-1 if selection else 1), 0, 1)
    return np.stack([1 - alarms, alarms, 1 - found, found], -1).reshape(-1, 2, 2) / 2


def gap_of_rates(name: str, setting: Setting, trials: int, rng: np.random.Generator, family: int = 1) -> Found:
    """A notion's gap, with the rates and denominators that it has in an audit."""
    notion = notions.get(name, 2)
    selection = not np.any(notion.direction)
    drawn = answers(setting, trials, rng, selection, by_label=not notion.population.all())
    true = [rate.k / rate.n for rate in rates_of(notion, chances(setting, selection), CLASSES)]
    found = [shares_of(rate.k, rate.n) for rate in rates_of_all(name, drawn)]
    return Found(max(float(np.ptp(rate)) for rate in true), *simultaneous.gap_bounds(found, CONFIDENCE, family))


def rates_of_all(name: str, drawn: Counts) -> list[Rate]:
    """A notion's rates of all trials, k and n [trials, G], from [trials, G, 2, 2]."""
    flat = rates_of(notions.get(name, 2), drawn.reshape(-1, 2, 2), CLASSES)
    shape = drawn.shape[:2]
    return [replace(rate, k=rate.k.reshape(shape), n=rate.n.reshape(shape)) for rate in flat]


def pairs(setting: Setting, trials: int, rng: np.random.Generator) -> tuple[Counts, Rates, Rates]:
    """Images by group, dense right? and pruned right?, [trials, G, 2, 2]; accuracies [G] dense and pruned.

    Harder data has more images that change sides; a worse group loses more.
    """
    moved = np.full(len(setting.sizes), (1 - setting.base) * 0.4)
    lost = moved + setting.worse
    cells = np.stack([1 - setting.base - moved, moved, lost, setting.base - lost], -1)
    flat = [rng.multinomial(size, p, trials) for size, p in zip(setting.sizes, cells, strict=True)]
    dense = np.full(len(setting.sizes), setting.base)
    return np.stack(flat, 1).reshape(trials, -1, 2, 2), dense, dense - lost + moved


def gap_of_losses(setting: Setting, trials: int, rng: np.random.Generator, family: int = 1) -> Found:
    tables, dense, pruned = pairs(setting, trials, rng)
    low, high = simultaneous.gap_bounds([losses_of(tables)], CONFIDENCE, family)
    return Found(float(np.ptp(dense - pruned)), low, high)


def largest_loss(setting: Setting, trials: int, rng: np.random.Generator, family: int = 1) -> Found:
    tables, dense, pruned = pairs(setting, trials, rng)
    return Found(float((dense - pruned).max()), *intervals.largest_bounds(losses_of(tables), CONFIDENCE, family))


def worst_group(setting: Setting, trials: int, rng: np.random.Generator, family: int = 1) -> Found:
    rates = setting.base - setting.worse
    drawn = rng.binomial(setting.sizes, rates, (trials, len(rates)))
    n = np.broadcast_to(setting.sizes, drawn.shape)
    low, high = intervals.largest_bounds(shares_of(n - drawn, n), CONFIDENCE, family)
    return Found(float(rates.min()), 1 - high, 1 - low, floor=True)


def largest_churn(setting: Setting, trials: int, rng: np.random.Generator, family: int = 1) -> Found:
    """The largest share of a group's images that changed; harder data, and a worse group, have more of them."""
    rates = np.clip(1 - setting.base + setting.worse, 0, 1)
    drawn = rng.binomial(setting.sizes, rates, (trials, len(rates)))
    n = np.broadcast_to(setting.sizes, drawn.shape)
    return Found(float(rates.max()), *intervals.largest_bounds(shares_of(drawn, n), CONFIDENCE, family))


def all_images(setting: Setting, trials: int, rng: np.random.Generator) -> Found:
    n, rate = int(setting.sizes[0]), setting.base - setting.worse[0]
    low, high = intervals.share_interval(rng.binomial(n, rate, trials), np.full(trials, n), CONFIDENCE)
    return Found(float(rate), low, high, floor=True)


def change_of_gap(setting: Setting, trials: int, rng: np.random.Generator, turned: bool = False) -> Found:
    """Gap now minus gap before; `turned` exchanges the two, so that the gap shrinks."""
    tables, dense, pruned = pairs(setting, trials, rng)
    if turned:
        tables, dense, pruned = tables.swapaxes(-2, -1), pruned, dense
    # A hundred trials at a time: all pairs against all take a megabyte each for twelve groups.
    parts = np.array_split(tables, -(-len(tables) // 100))
    found = [gap_changes.gap_changes(part, CONFIDENCE) for part in parts]
    _, low, high = map(np.concatenate, zip(*found, strict=True))
    return Found(float(np.ptp(pruned) - np.ptp(dense)), low, high)


def change_of_worst(setting: Setting, trials: int, rng: np.random.Generator) -> Found:
    tables, dense, pruned = pairs(setting, trials, rng)
    _, low, high = gap_changes.worst_changes(tables, CONFIDENCE)
    return Found(float(pruned.min() - dense.min()), low, high, floor=True)


def change_of_one(setting: Setting, trials: int, rng: np.random.Generator) -> Found:
    tables, dense, pruned = pairs(setting, trials, rng)
    _, low, high = intervals.changes(tables[:, 0], CONFIDENCE)
    return Found(float(pruned[0] - dense[0]), low, high, floor=True)


def over_attributes(
    count: int, of: Callable[..., Found], setting: Setting, trials: int, rng: np.random.Generator
) -> Found:
    """Gates of one kind on several attributes, each at its truth: the interval farthest off counts.

    The attributes are drawn independently, which makes a union of errors as large as it can be. `holds` is then that
    no attribute's gate fails and not all pass.
    """
    found = [of(setting, trials, rng, family=count) for _ in range(count)]
    low, high = (np.stack([getattr(one, end) for one in found]) for end in ("low", "high"))
    first = found[0]
    if first.floor:
        return Found(first.truth, low.min(0), high.min(0), floor=True)
    return Found(first.truth, low.max(0), high.max(0))


def gap_kind(name: str) -> Kind:
    return gap_of_losses if notions.get(name, 2).relative else partial(gap_of_rates, name)


# A gate's kinds begin with its flag; what follows are the figures that stand beside the verdict.
KINDS: dict[str, Kind] = {
    **{f"max-gap, {name}": gap_kind(name) for name in notions.names()},
    "max-degradation": largest_loss,
    "max-churn": largest_churn,
    "min-accuracy, worst group": worst_group,
    "min-accuracy, all images": all_images,
    "max-gap, accuracy, over 2 attributes": partial(over_attributes, 2, partial(gap_of_rates, "accuracy")),
    "max-gap, accuracy, over 5 attributes": partial(over_attributes, 5, partial(gap_of_rates, "accuracy")),
    "max-degradation, over 5 attributes": partial(over_attributes, 5, largest_loss),
    "max-churn, over 5 attributes": partial(over_attributes, 5, largest_churn),
    "min-accuracy, worst group, over 5 attributes": partial(over_attributes, 5, worst_group),
    "change of a group": change_of_one,
    "change of the gap": change_of_gap,
    "change of the gap, shrinking": partial(change_of_gap, turned=True),
    "change of the worst group": change_of_worst,
}


def measured(kind: str, setting: Setting, trials: int, finest: int, rng: np.random.Generator) -> Row:
    """One row, drawn up to `finest` times where it is close to what is permitted."""
    found = KINDS[kind](setting, trials, rng)
    above, below = found.low > found.truth + 1e-12, found.high < found.truth - 1e-12
    fails, passes = above, found.high <= found.truth + 1e-12
    if found.floor:
        fails, passes = below, found.low >= found.truth - 1e-12
    holds = 1 - (above | below).mean()
    close = holds < CONFIDENCE + CLOSE or max(fails.mean(), passes.mean()) > 1 - CONFIDENCE - CLOSE
    if close and trials < finest:
        return measured(kind, setting, min(FINER * trials, finest), finest, rng)
    width = float((found.high - found.low).mean())
    shares = (float(holds), float(fails.mean()), float(passes.mean()))
    return Row(
        kind, len(setting.sizes), setting.sizes.tolist(), setting.base, setting.gap, found.truth, *shares, width,
        len(found.low),
    )  # fmt: skip


def naive(setting: Setting, trials: int, rng: np.random.Generator, draws: int = 500) -> tuple[float, float]:
    """Percentile bootstrap of max minus min: how often it holds, and how often a gate at the true gap fails."""
    n, rates, truth = setting.sizes, setting.base - setting.worse, float(setting.worse.max())
    holds = alarms = 0
    for k in rng.binomial(n, rates, (trials, len(n))):
        again = rng.binomial(n[:, None], (k / n)[:, None], size=(len(n), draws)) / n[:, None]
        low, high = np.quantile(again.max(0) - again.min(0), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        holds += bool(low <= truth + 1e-12 and truth <= high + 1e-12)
        alarms += bool(low > truth + 1e-12)
    return holds / trials, alarms / trials


def summary(rows: list[Row]) -> dict[str, dict[str, float | int]]:
    """The extremes of each kind."""
    of = {kind: [row for row in rows if row.kind == kind] for kind in dict.fromkeys(row.kind for row in rows)}
    return {
        kind: {
            "settings": len(found), "least_holds": min(row.holds for row in found),
            "most_alarms": max(row.alarms for row in found), "most_passes": max(row.passes for row in found),
        }
        for kind, found in of.items()
    }  # fmt: skip


def table(kinds: dict[str, dict[str, float | int]]) -> str:
    """The summary as the page on the method has it."""
    lines = ["| figure | settings | held at least | false alarms | false passes |", "|---|---|---|---|---|"]
    for kind, of in kinds.items():
        shares = " | ".join(f"{100 * of[key]:.1f}" for key in ("least_holds", "most_alarms", "most_passes"))
        lines.append(f"| {kind} | {of['settings']} | {shares} |")
    return "\n".join(lines)


def rounded(value: object) -> object:
    return round(value, 5) if isinstance(value, float) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--finest", type=int, default=32000, help="trials of rows that are close to what is permitted")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds that begin so")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "coverage.json")
    options = parser.parse_args()
    started = time.monotonic()
    found: list[Row] = []
    for number, kind in enumerate(KINDS):
        if not kind.startswith(options.only):
            continue
        rng = np.random.default_rng([options.seed, number])
        for setting in settings():
            found.append(measured(kind, setting, options.trials, options.finest, rng))
        print(f"{time.monotonic() - started:6.0f} s", table(summary(found)).splitlines()[-1], flush=True)
    rng = np.random.default_rng([options.seed, len(KINDS)])
    contrast = [naive(setting, max(options.trials // 10, 1), rng) for setting in settings() if setting.gap == "none"]
    document = {
        "confidence": CONFIDENCE,
        "trials": options.trials,
        "seed": options.seed,
        "seconds": round(time.monotonic() - started, 1),
        "kinds": summary(found),
        "naive": {"least_holds": min(h for h, _ in contrast), "most_alarms": max(a for _, a in contrast)},
        "columns": [field.name for field in fields(Row)],
    }
    # A line for each of the thousands of rows.
    rows = ",\n".join(json.dumps([rounded(value) for value in astuple(row)]) for row in found)
    text = json.dumps(document, indent=1).removesuffix("\n}") + f',\n "rows": [\n{rows}\n ]\n}}\n'
    atomic_write_text(options.out, text)
    print(f"{table(summary(found))}\nwritten to {options.out}")


if __name__ == "__main__":
    main()
