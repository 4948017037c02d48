"""Surrogates of the indicator 1[a > 0], after Wu, Zhang & Wu (2019), "On Convexity and Bounds of
Fairness-aware Classification", and Dai et al. (arXiv 2312.10181), section 3.

Each module gives `kappa(a)`, a surrogate from above. Unless it gives `delta(a)` too, the one from below follows
from the symmetry 1[a > 0] = 1 - 1[-a >= 0]:  delta(a) = 1 - kappa(-a). For hinge, logistic, squared and exponential
this is the printed delta; the linear one differs by the constant 1 and says its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fairprune_cli.core import plugins

Surrogate = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Mirrored:
    """The surrogate from below that follows from `kappa`: 1 - kappa(-a), same shape."""

    kappa: Surrogate

    def __call__(self, a: Tensor) -> Tensor:
        return 1.0 - self.kappa(-a)


@dataclass(frozen=True)
class Relaxation:
    """A pair of surrogates of 1[a > 0]; `kappa` from above, `delta` from below."""

    name: str
    kappa: Surrogate
    delta: Surrogate


def names() -> list[str]:
    return plugins.RELAXATION.names()


def get(name: str) -> Relaxation:
    """The relaxation called `name`.

    Raises:
        FairpruneError: no such relaxation, or one that cannot be loaded.
    """
    module = plugins.RELAXATION.load(name)
    kappa: Surrogate = module.kappa
    return Relaxation(name, kappa, getattr(module, "delta", Mirrored(kappa)))


__all__ = ["Mirrored", "Relaxation", "get", "names"]
