"""docs/networks.md, from the rows of scan.py alone."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from _scan_trial import GRANULARITIES

INTRODUCTION = """# Networks tried

Written by `python benchmarks/scan.py`; all rows are in
[benchmarks/results/scan.json](../benchmarks/results/scan.json). Each network is built with random weights and
statistics, saved as a state dict, and goes through what `fairprune prune --dry-run` does, by channel and by weight, at
sparsity 0.5 with every layer losing the same share by magnitude; then through a step of training, and its pruned form
is written and read back.

- **equal**: what is read back gives the same outputs as what was in memory, to the bit, on images of two sizes where
  the network takes two; tied parameters are tied, frozen ones whole; masked and removed agree but for rounding.
- **less**: the same, at the largest of the sparsities 0.4, 0.3, 0.2, 0.1 and 0.05 that is in reach; at 0.5 the command
  refuses and says how much is possible and which layers stay.
- **refused**: before any training, in a sentence; all of them are below.
- **not runnable**: the library's own network does not run here as it is built (a size, a missing package).
- **fault**: anything else.

`own` are the networks of [benchmarks/_own_networks](../benchmarks/_own_networks), in the manner of people's own code.
"""
KINDS = ("own", "torchvision", "timm")
GOOD = ("equal", "less", "refused", "not runnable")
SHORTEST = 4  # networks of one reason that are all named


def kind_of(name: str) -> str:
    """own, torchvision or timm."""
    return "timm" if name.startswith("timm/") else "own" if "." in name else "torchvision"


def page(document: Mapping[str, Any]) -> str:
    """The page in Markdown.

    Args:
        document: as scan.py writes it.
    """
    rows = document["rows"]
    parts = [INTRODUCTION, f"\n{document['versions']}; networks of at most {document['limit'] / 1e6:g} M parameters.\n"]
    if untried := document.get("untried"):
        parts.append(f"\n{untried:,} networks of these libraries, of all sizes, are yet to be tried.\n")
    parts.append(f"\n| | granularity | networks | {' | '.join(GOOD)} | fault |\n{'|---' * (len(GOOD) + 4)}|\n")
    for kind in KINDS:
        for granularity in GRANULARITIES:
            found = Counter(row[granularity]["outcome"] for name, row in rows.items() if kind_of(name) == kind)
            faults = sum(count for outcome, count in found.items() if outcome not in GOOD)
            cells = [kind, granularity, found.total(), *(found[outcome] for outcome in GOOD), faults]
            if found:
                parts.append(f"| {' | '.join(map(str, cells))} |\n")
    for outcome, title in (("refused", "Refused"), ("less", "Less than half by channel"), ("fault", "Faults")):
        parts.append(f"\n## {title}\n\n{_listed(rows, outcome) or 'None.'}\n")
    parts.append(f"\n## Not runnable\n\n{_listed(rows, 'not runnable') or 'None.'}\n")
    return "".join(parts)


def _listed(rows: Mapping[str, Any], outcome: str) -> str:
    """Networks by reason, the commonest first."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for name, row in rows.items():
        for granularity in GRANULARITIES:
            one = row[granularity]
            if one["outcome"] == outcome or (outcome == "fault" and one["outcome"] not in GOOD):
                found[granularity, _reason(one["message"])].append((name, one["message"]))
    lines = []
    for (granularity, _), members in sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        names = ", ".join(f"`{name}`" for name, _ in members)
        told = " ".join(members[0][1].strip().splitlines()[-1].split()) if members[0][1] else ""
        lines.append(f"- {granularity}, {len(members)}: {names}. As of the first: {told}")
    return "\n".join(lines)


def _reason(message: str) -> str:
    """A message without what differs between networks: names, numbers, counts of parameters."""
    last = message.strip().splitlines()[-1] if message.strip() else ""
    last = last.split(" parameters; ")[-1]
    last = re.sub(r"\S*\.\S*|\S*\d\S*|'[^']*'", "#", last.split(" | ")[1] if last.count(" | ") > 1 else last)
    return re.sub(r"^.*? stays: ", "", last)[:100]
