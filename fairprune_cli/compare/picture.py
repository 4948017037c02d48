"""Accuracy against gap as a picture: blocks for the page, and a stand-alone SVG that needs no style sheet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

from fairprune_cli.compare.pairs import gap_title
from fairprune_cli.report import words
from fairprune_cli.report.document import Plot, Point, Scatter
from fairprune_cli.report.figures.axes import CHAR, px, svg_text
from fairprune_cli.report.figures.scatter import mark, mark_classes, scatter

# Scaled to a phone its text is still as large as a phone's, and on a wide page it stays within twice that.
WIDTH, LARGEST = 420, 760
_LEGEND_ROW = 20.0

_STYLE = """
svg { background: var(--paper); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  --paper: #fdfcfa; --ink: #1d1b18; --soft: #5f5a52; --grid: #ebe7df;
  --c0: #77716a; --c1: #1f6f9f; --c2: #b4540a; --c3: #2c7a4b; --c4: #a63d78; --c5: #6a52b3; }
@media (prefers-color-scheme: dark) { svg {
  --paper: #16181b; --ink: #e9e6e0; --soft: #a8a49b; --grid: #2a2e33;
  --c0: #a09b92; --c1: #6bb3e0; --c2: #f0944a; --c3: #6cc48d; --c4: #e58bbd; --c5: #ac99ea; } }
text { fill: var(--soft); } .label, .value { fill: var(--ink); }
.value { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-linejoin: round; }
.grid { stroke: var(--grid); } .whisker { stroke: currentColor; stroke-width: 1.3; fill: none; opacity: .55; }
.front { fill: none; stroke: var(--ink); stroke-width: 1.4; opacity: .6; }
.dot { fill: currentColor; stroke: var(--paper); } .ring { fill: var(--paper); stroke: currentColor; stroke-width: 2; }
.s0 { color: var(--c0); } .s1 { color: var(--c1); } .s2 { color: var(--c2); } .s3 { color: var(--c3); }
.s4 { color: var(--c4); } .s5 { color: var(--c5); }
"""


def plots(document: Mapping[str, Any]) -> list[Plot]:
    """One figure per attribute, with the rows of all targets."""
    found = []
    for attribute in document["attributes"]:
        whole = comparison_figure(document, attribute)
        if whole is None:
            continue
        of = f", {attribute}" if len(document["attributes"]) > 1 else ""
        found.append(Plot(f"Accuracy against gap{of}", _sentence(whole, document), whole))
    return found


def target_plot(document: Mapping[str, Any], attribute: str, target: Mapping[str, Any]) -> Plot | None:
    """The figure of one target; None where it would show what the figure of all targets shows."""
    part = comparison_figure(document, attribute, target) if len(document["targets"]) > 1 else None
    if part is None:
        return None
    where = f"{target['granularity']} {target['sparsity']:g}"
    return Plot(f"Accuracy against gap, {where}", "Names stand where there is room for them.", part)


def comparison_figure(
    document: Mapping[str, Any], attribute: str, target: Mapping[str, Any] | None = None
) -> Scatter | None:
    """The points of all rows, with the front that they make, or of those at one target; None without any."""
    rows = [
        row for row in document["rows"]
        if row["figures"] and attribute in row["figures"]["attributes"]
        and (target is None or (row["granularity"], row["sparsity"]) == (target["granularity"], target["sparsity"]))
    ]  # fmt: skip
    methods = list(document["methods"])
    made = []
    for entry in document["dense"]:
        if attribute in entry["figures"]["attributes"]:
            made.append((_point(0, entry["figures"], attribute, "", "dense"), "dense"))
    tell = _tell_apart(document)
    for row in rows:
        values = " ".join(words.shown(value) for value in row["grid"].values())
        text = row["label"] if target is not None else " ".join(filter(None, (tell(row), values)))
        where = f"{row['label']}, {row['granularity']} {row['sparsity']:g}"
        made.append((_point(methods.index(row["method"]) + 1, row["figures"], attribute, text, where), where))
    placed = [(point, where) for point, where in made if point is not None]
    known = [point for point, _ in placed]
    if not any(point.series for point in known):
        return None
    title = gap_title(row["notion"] for row in rows)
    front = pareto_front(known) if target is None else []
    if front:
        known = [replace(point, text=where) if at in front else point for at, (point, where) in enumerate(placed)]
    return Scatter(known, ["dense", *methods], f"{title}, points", "accuracy, percent", front)


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Positions of the pruned models that no other one beats in both figures' means, the smallest gap first.

    The dense model is left out: it stands for no sparsity, and what it costs is not in the picture.
    """
    front: list[int] = []
    order = sorted((p.x, -p.y, at) for at, p in enumerate(points) if p.series)
    for _, lower, at in order:
        if not front or -lower > points[front[-1]].y:
            front.append(at)
    return front


def _tell_apart(document: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], str]:
    """What a point's text says of its target: only what differs between targets."""
    granularities = {t["granularity"] for t in document["targets"]}
    several = len({(t["granularity"], t["sparsity"]) for t in document["targets"]}) > 1
    return lambda row: (
        "" if not several
        else f"{row['granularity'][0]}{row['sparsity']:g}" if len(granularities) > 1 else f"{row['sparsity']:g}"
    )  # fmt: skip


def _point(series: int, figures: Mapping[str, Any], attribute: str, text: str, where: str) -> Point | None:
    gap, accuracy = figures["attributes"][attribute]["notion_gap"], figures["accuracy"]
    if gap["mean"] is None or accuracy["mean"] is None:
        return None
    hint = f"{where}: accuracy {words.fixed(100 * accuracy['mean'])}, gap {words.fixed(100 * gap['mean'])}"
    return Point(series, gap["mean"], accuracy["mean"], _span(gap), _span(accuracy), text, hint)


def _span(spread: Mapping[str, Any]) -> tuple[float, float] | None:
    return None if spread["low"] is None else (spread["low"], spread["high"])


def _sentence(scatter: Scatter, document: Mapping[str, Any]) -> str:
    text = "Further to the left is fairer, further up is more accurate."
    if any(point.x_span for point in scatter.points):
        text += (
            f" Whiskers are {100 * document['confidence']:g} % intervals over the seeds; one without a bar at its end "
            "goes on beyond the frame. Methods whose whiskers overlap may still differ: the paired differences decide."
        )
    if scatter.front:
        on = words.join(scatter.points[at].text for at in scatter.front)
        text += f" On the front, where no other row is on average both more accurate and fairer: {on}."
    if any(point.text for point in scatter.points) and len({t["granularity"] for t in document["targets"]}) > 1:
        text += " The letter before a sparsity is that of the granularity."
    return text


def stand_alone(figure: Scatter, title: str) -> str:
    """The figure as an SVG file with its own legend and colours, light or dark as the viewer is."""
    height, body = scatter(figure, WIDTH)
    across = 2 if max(map(len, figure.series)) * CHAR + 24 < WIDTH / 2 else 1
    for i, name in enumerate(figure.series):
        x, y = 12 + (i % across) * WIDTH / across, height + 12 + (i // across) * _LEGEND_ROW
        sign = f'<g class="{mark_classes(i)}" transform="translate({px(x)} {px(y)})">{mark(i)}</g>'
        body += [sign, svg_text(x + 13, y + 4, name, "start", "label")]
    height += -(-len(figure.series) // across) * _LEGEND_ROW + 8
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {WIDTH + 16} {px(height + 16)}" width="100%" '
        f'style="max-width:{LARGEST}px" role="img">'
    )
    return f"{opening}<title>{escape(title)}</title><style>{_STYLE}</style>{''.join(body)}</svg>\n"
