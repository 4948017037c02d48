"""Notions as sentences about images."""

from __future__ import annotations

from tests.contract.shapes import Rates


def _everybody(label: int) -> bool:
    return True


def _right(label: int, predicted: int) -> bool:
    return label == predicted


RIGHT = Rates(lambda classes: [(_everybody, _right)])

NOTIONS = {
    "accuracy": RIGHT,
    "worst-group": RIGHT,
    "degradation": Rates(RIGHT.of, lost=True),
    "parity": Rates(lambda classes: [(_everybody, lambda y, p, c=c: p == c) for c in range(classes)]),
    # Of two classes only the second is the one that is looked for.
    "opportunity": Rates(
        lambda classes: [(lambda y, c=c: y == c, _right) for c in ([1] if classes == 2 else range(classes))]
    ),
    "odds": Rates(
        lambda classes: [
            (lambda y, c=c: y == c, lambda y, p, q=q: p == q) for c in range(classes) for q in range(classes)
        ]
    ),
}
