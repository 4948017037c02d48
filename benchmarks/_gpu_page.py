"""docs/gpu.md, from the figures of gpu.py alone: it says what was measured, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

INTRODUCTION = """# On a GPU

Written by `python benchmarks/gpu.py`; all figures are in
[benchmarks/results/gpu.json](../benchmarks/results/gpu.json).
"""
STEPS = """
Milliseconds per step, median over five times ten steps with the least and the largest in brackets; peak memory that
torch allocated, without the images. *plain* is fine-tuning as a user writes it: resident images, channels last,
`cudnn.benchmark`, fused SGD; *captured* is the same step as one CUDA graph. bifp takes an upper step every 5 lower
ones, with a multiplier above zero. *over passes*: its time over the plain eager one, divided by the passes it makes
(1.2 while the mask moves, 1.07 once it is fixed). *launches* and *waits*: kernels or graphs that the host starts in a
step, and how often it waits for the device; *at work*: milliseconds of a step in which the device computes.
"""


def page(document: Mapping[str, Any]) -> str:
    """The page in Markdown.

    Args:
        document: as gpu.py writes it; `notes` are what is to be known about these figures beside that.
    """
    parts = [INTRODUCTION, f"\n{document['machine']}, torch {document['torch']}, {document['seconds']:.0f} s in all.\n"]
    parts += [f"\n{note}\n" for note in document.get("notes", ())]
    if document.get("checks"):
        parts += ["\n## Checks\n\n", *_table(
            ("check", "outcome", "", "seconds"),
            [(c["name"], c["outcome"], c["text"], f"{c['seconds']:.0f}") for c in document["checks"]],
        )]  # fmt: skip
    measures = document.get("measures") or {}
    if measures.get("steps"):
        parts += ["\n## A step\n", STEPS, "\n"]
        kinds = dict.fromkeys((r["network"], r["size"], r["batch"], r["precision"]) for r in measures["steps"])
        for kind in kinds:
            rows = [r for r in measures["steps"] if (r["network"], r["size"], r["batch"], r["precision"]) == kind]
            network, size, batch, precision = kind
            parts += [f"\n### {network}, {size} px, {batch} images, {precision}\n\n", *_table(
                ("", "ms", "times plain", "over passes", "memory MB", "times plain", "launches", "waits", "at work"),
                [_step(row) for row in rows],
            )]  # fmt: skip
    linear = measures.get("linear_layers") or {}
    if linear:
        parts.append("\n## Linear layers in the pattern 2:4\n\n")
    if linear.get("rows"):
        parts += ["Half precision, no gradient, milliseconds.\n\n", *_table(
            ("width x hidden", "dense", "2:4", "dense / 2:4"),
            [(f"{r['width']} x {r['hidden']}", f"{r['ms']['dense'][0]:.3f}", f"{r['ms']['sparse'][0]:.3f}",
              f"{r['ratio']:.2f}") for r in linear["rows"]],
        )]  # fmt: skip
    elif linear:
        parts.append(f"Not measured: {linear.get('skipped') or linear.get('failed')}.\n")
    return "".join(parts)


def _step(row: Mapping[str, Any]) -> tuple[str, ...]:
    name = row["row"] + (f" {row['granularity']}, mask {row['mask']}" if row["mask"] else "")
    if "ms" not in row:
        return (name, "not measured: " + str(row.get("skipped") or row.get("failed")), *[""] * 7)
    peak = row.get("peak_bytes")
    return (
        name, f"{row['ms']:.1f} [{row['least']:.1f}, {row['largest']:.1f}]", _number(row.get("ratio"), 2),
        _number(row.get("over_floor"), 2), _number(None if peak is None else peak / 1e6, 0),
        _number(row.get("memory_ratio"), 2), _number(row.get("launches"), 0), _number(row.get("waits"), 1),
        _number(row.get("busy_ms"), 1),
    )  # fmt: skip


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
