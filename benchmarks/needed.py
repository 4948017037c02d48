"""Whether as many images as an inconclusive gate asks for do decide it, by drawing as many, for every kind of gate.

    python benchmarks/needed.py [--draws 400] [--only max-gap] [--out benchmarks/results/needed.json]

A cell is a kind of gate on groups with known true shares. One audit of it is drawn, and a bound that its interval
holds, 30 to 70 % of the way from the figure to the interval's upper or lower end; so the gate is inconclusive and names
N. Then audits of N fresh images are drawn from the shares that the first one saw, groups and labels included, and
judged. `share` is how many of them the gate decides. Beside it stands the same for half of N, which says whether N is
larger than it has to be, and for the rule of thumb n (half width / distance to the bound)^2, as what not to do.
`seconds` is what the search took, of one processor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fairprune_cli.audit import intervals, metrics, simultaneous
from fairprune_cli.audit.churn import faithfulness_figures
from fairprune_cli.audit.deciding import Question, images_that_decide
from fairprune_cli.audit.estimates import Estimate
from fairprune_cli.audit.evidence import Evidence
from fairprune_cli.audit.figures import Judgement
from fairprune_cli.audit.outcomes import Outcomes, losses_of, shares_of
from fairprune_cli.audit.rates import rates_of
from fairprune_cli.audit.unseen import ALL_IMAGES
from fairprune_cli.core.files import atomic_write_text
from fairprune_cli.fairness import notions

GROUPS, SIZES = (2, 3, 6, 12), (30, 100, 300, 1000, 3000)
BASES, WORSE = (0.7, 0.95), (0.0, 0.08)
CONFIDENCE, CHANCE, LEAST = 0.95, 0.95, 30
CLASSES = ("no", "yes")

Tables = NDArray[np.int64]


@dataclass(frozen=True)
class Kind:
    """A kind of gate: which extreme of which rates it looks at.

    Attributes:
        figure: of one audit, as the tool makes it, from images by group, label, dense and pruned prediction.
        rates: of many audits, [T, G, 2, 2, 2] gives the rates, [T, G] each.
        family: over how many attributes.
    """

    figure: Callable[[Tables, Judgement], Estimate]
    rates: Callable[[Tables], list[Outcomes]]
    extreme: str
    family: int = 1


@dataclass(frozen=True)
class Cell:
    kind: str
    groups: int
    size: int
    mixed: bool
    base: float
    worse: float
    passes: bool
    now: int
    needed: int | None
    share: float | None
    share_of_half: float | None
    share_of_rule: float | None
    seconds: float


def gap_of(name: str, family: int = 1) -> Kind:
    notion = notions.get(name, 2)

    def figure(tables: Tables, judgement: Judgement) -> Estimate:
        if notion.relative:
            return metrics.losses_gap(pairs_of(tables), names_of(tables), judgement, notion)
        return metrics.rates_gap(notion, tables.sum(2), names_of(tables), CLASSES, judgement)

    def rates(tables: Tables) -> list[Outcomes]:
        if notion.relative:
            return [losses_of(pairs_of(tables))]
        flat = rates_of(notion, tables.sum(-2).reshape(-1, 2, 2), CLASSES)
        return [shares_of(rate.k.reshape(tables.shape[:2]), rate.n.reshape(tables.shape[:2])) for rate in flat]

    return Kind(figure, rates, "gap", family)


def largest_loss(family: int = 1) -> Kind:
    def figure(tables: Tables, judgement: Judgement) -> Estimate:
        return metrics.degradation_figures(pairs_of(tables), names_of(tables), judgement).largest

    return Kind(figure, lambda tables: [losses_of(pairs_of(tables))], "largest", family)


def largest_churn() -> Kind:
    def figure(tables: Tables, judgement: Judgement) -> Estimate:
        return faithfulness_figures(tables.sum(1), pairs_of(tables), names_of(tables), judgement).largest

    def rates(tables: Tables) -> list[Outcomes]:
        n = tables.sum((-3, -2, -1))
        return [shares_of(n - np.trace(tables.sum(-3), axis1=-2, axis2=-1), n)]

    return Kind(figure, rates, "largest")


def wrong(tables: Tables) -> Outcomes:
    """Images that are answered wrong, so that the worst group is the one with the largest share."""
    counts = tables.sum(-2)
    n = counts.sum((-2, -1))
    return shares_of(n - np.trace(counts, axis1=-2, axis2=-1), n)


def worst_group() -> Kind:
    def figure(tables: Tables, judgement: Judgement) -> Estimate:
        return metrics.worst_group(tables.sum(2), names_of(tables), judgement)

    return Kind(figure, lambda tables: [wrong(tables)], "lowest")


def all_images() -> Kind:
    def figure(tables: Tables, judgement: Judgement) -> Estimate:
        whole = tables.sum((0, 2))
        n, right = int(whole.sum()), int(np.trace(whole))
        behind = Evidence("lowest", (shares_of([right], [n]),), (ALL_IMAGES,), np.array([n]), judgement.confidence, 30)
        found = metrics.accuracy_figure(right, n, judgement.confidence)
        return Estimate(found.value, found.low, found.high, evidence=behind)

    return Kind(figure, lambda tables: [wrong(tables.sum(1, keepdims=True))], "lowest")


def names_of(tables: Tables) -> list[str]:
    return [str(group) for group in range(len(tables))]


KINDS: dict[str, Kind] = {
    **{f"max-gap, {name}": gap_of(name) for name in notions.names()},
    "max-degradation": largest_loss(),
    "max-churn": largest_churn(),
    "min-accuracy, worst group": worst_group(),
    "min-accuracy, all images": all_images(),
    "max-gap, accuracy, over 5 attributes": gap_of("accuracy", 5),
    "max-degradation, over 5 attributes": largest_loss(5),
}


def pairs_of(tables: Tables) -> Tables:
    """Dense right? x pruned right?, [..., 2, 2], of images by label, dense and pruned prediction, [..., 2, 2, 2]."""
    return tables[..., 0, ::-1, ::-1] + tables[..., 1, :, :]


def chances(groups: int, base: float, worse: float) -> NDArray[np.float64]:
    """Label x dense prediction x pruned prediction, [G, 2, 2, 2]; the last group's pruned model is worse."""
    moved = (1 - base) * 0.4
    lost = np.where(np.arange(groups) == groups - 1, moved + worse, moved)
    pairs = np.empty((groups, 2, 2))  # dense right? x pruned right?
    pairs[:, 0, 0], pairs[:, 0, 1], pairs[:, 1, 0], pairs[:, 1, 1] = 1 - base - moved, moved, lost, base - lost
    return np.stack([pairs[:, ::-1, ::-1], pairs], 1) / 2


def settings() -> Iterator[tuple[int, int, bool, float, float]]:
    for groups in GROUPS:
        for size in SIZES:
            for mixed in (False, True):
                if mixed and size == min(SIZES):
                    continue  # groups from the least size up to this one
                for base in BASES:
                    for worse in WORSE:
                        yield groups, size, mixed, base, worse


def undecided(kind: Kind, tables: Tables, bound: float) -> NDArray[np.bool_]:
    """Of every audit [T, ...] whether the gate is inconclusive: its interval holds the bound, or a group is too small.

    What fails without its small groups is decided.
    """
    rates = kind.rates(tables)
    small = np.any([(rate.n < LEAST).any(-1) for rate in rates], 0)
    found = np.ones(len(tables), bool)
    for i in np.flatnonzero(small):
        figure = kind.figure(tables[i], Judgement(family=kind.family))
        if figure.low is not None and figure.high is not None:
            fails = figure.high < bound - 1e-12 if kind.extreme == "lowest" else figure.low > bound + 1e-12
            found[i] = not fails
    rates = [replace(one, gained=one.gained[~small], lost=one.lost[~small], n=one.n[~small]) for one in rates]
    if small.all():
        return found
    if kind.extreme == "gap":
        low, high = simultaneous.gap_bounds(rates, CONFIDENCE, kind.family)
    else:
        low, high = intervals.largest_bounds(rates[0], CONFIDENCE, kind.family)
    bound = 1 - bound if kind.extreme == "lowest" else bound
    found[~small] = (low <= bound + 1e-12) & (high > bound + 1e-12)
    return found


def share_decided(kind: Kind, observed: Tables, n: int, bound: float, draws: int, rng: np.random.Generator) -> float:
    """How often so many fresh images decide, drawn from what was observed, groups and labels included."""
    shares = observed.ravel() / observed.sum()
    fresh = rng.multinomial(n, shares, draws).reshape(draws, *observed.shape)
    return 1 - float(np.mean([undecided(kind, part, bound).mean() for part in np.array_split(fresh, draws // 50)]))


def rule_of_thumb(found: Estimate, bound: float, now: int) -> int:
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    half = max(found.high - found.value, found.value - found.low)
    return max(int(np.ceil(now * (half / (found.value - bound)) ** 2)), now + 1)


def audited(
    kind: Kind, setting: tuple[int, int, bool, float, float], rng: np.random.Generator
) -> tuple[Tables, Estimate, float]:
    """An audit that a gate finds inconclusive: images, figure and bound."""
    groups, size, mixed, base, worse = setting
    sizes = np.geomspace(min(SIZES), size, groups).astype(int) if mixed else np.full(groups, size)
    true = chances(groups, base, worse).reshape(groups, -1)
    while True:
        observed = np.stack([rng.multinomial(n, p) for n, p in zip(sizes, true, strict=True)]).reshape(-1, 2, 2, 2)
        # Too few images of a label for any figure: the bound is then taken from what more would give.
        for least in (LEAST, 1):
            found = kind.figure(observed, Judgement(min_group=least, family=kind.family))
            if found.value is not None:
                break
        if found.value is None or found.low is None or found.high is None:
            continue
        upper = bool(rng.integers(2)) or found.value - found.low < 0.005
        bound = found.value + rng.uniform(0.3, 0.7) * ((found.high if upper else found.low) - found.value)
        if abs(bound - found.value) > 1e-4 and undecided(kind, observed[None], bound)[0]:
            return observed, kind.figure(observed, Judgement(family=kind.family)), bound


def measured(name: str, setting: tuple[int, int, bool, float, float], draws: int, rng: np.random.Generator) -> Cell:
    kind = KINDS[name]
    observed, figure, bound = audited(kind, setting, rng)
    assert figure.evidence is not None
    before = time.process_time()
    answer = images_that_decide(figure.evidence, Question(bound, kind.extreme == "lowest"))
    seconds = time.process_time() - before
    shares: list[float | None] = [None, None, None]
    if answer.images is not None:
        shares[:2] = (share_decided(kind, observed, n, bound, draws, rng) for n in (answer.images, answer.images // 2))
        if figure.value is not None:
            shares[2] = share_decided(kind, observed, rule_of_thumb(figure, bound, answer.now), bound, draws, rng)
    return Cell(name, *setting, bool(answer.passes), answer.now, answer.images, *shares, seconds)


def summary(cells: list[Cell]) -> dict[str, dict[str, float | int]]:
    """By kind; a cell holds where at least 95 % of its draws are decided."""
    found = {}
    for kind in dict.fromkeys(cell.kind for cell in cells):
        of = [cell for cell in cells if cell.kind == kind and cell.share is not None]
        share, half, rule = (
            np.array([value for cell in of if (value := getattr(cell, key)) is not None])
            for key in ("share", "share_of_half", "share_of_rule")
        )
        found[kind] = {
            "cells": len(of), "none": sum(cell.kind == kind for cell in cells) - len(of), "mean": float(share.mean()),
            "hold": float((share >= CHANCE).mean()), "least": float(share.min()), "mean_of_half": float(half.mean()),
            "mean_of_rule": float(rule.mean()), "least_of_rule": float(rule.min()),
            "most_seconds": max(cell.seconds for cell in of),
        }  # fmt: skip
    return found


def table(kinds: dict[str, dict[str, float | int]]) -> str:
    """The summary as the page on the method has it."""
    lines = [
        "| gate | cells | decided, mean | in >= 95 % | least | half of N | rule of thumb, mean | its least |",
        "|---|---|---|---|---|---|---|---|",
    ]
    keys = ("mean", "hold", "least", "mean_of_half", "mean_of_rule", "least_of_rule")
    for kind, of in kinds.items():
        lines.append(f"| {kind} | {of['cells']} | {' | '.join(f'{100 * of[key]:.1f}' for key in keys)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds that begin so")
    parser.add_argument("--every", type=int, default=1, help="every how many settings, for a quick look")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "needed.json")
    options = parser.parse_args()
    started = time.monotonic()
    cells: list[Cell] = []
    for number, name in enumerate(KINDS):
        if name.startswith(options.only):
            rng = np.random.default_rng([options.seed, number])
            chosen = list(settings())[:: options.every]
            cells += [measured(name, setting, options.draws, rng) for setting in chosen]
            print(f"{time.monotonic() - started:6.0f} s", table(summary(cells)).splitlines()[-1], flush=True)
    document = {
        "confidence": CONFIDENCE, "chance": CHANCE, "draws": options.draws, "seed": options.seed,
        "seconds": round(time.monotonic() - started, 1), "kinds": summary(cells),
        "columns": list(asdict(cells[0])),
    }  # fmt: skip
    rows = ",\n".join(
        json.dumps([round(v, 4) if isinstance(v, float) else v for v in asdict(cell).values()]) for cell in cells
    )
    text = json.dumps(document, indent=1).removesuffix("\n}") + f',\n "rows": [\n{rows}\n ]\n}}\n'
    atomic_write_text(options.out, text)
    print(f"{table(summary(cells))}\nwritten to {options.out}")


if __name__ == "__main__":
    main()
