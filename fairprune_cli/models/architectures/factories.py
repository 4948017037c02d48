"""A network of one's own, named as `package.module:factory`; only for names that the user has typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.core.plugins import import_own, own_failed, working_directory_importable


def build_from_factory(path: str, num_classes: int) -> nn.Module:
    """Call `factory(num_classes=K)` where it takes that argument, else `factory()`.

    Raises:
        FairpruneError: as `import_own`, or the call fails, or gives no torch.nn.Module.
    """
    factory = import_own(
        path, "--arch", "mynets.small:make_net",
        "a function or class that returns the network: factory(num_classes=K) or factory()",
    )  # fmt: skip
    arguments = {"num_classes": num_classes} if _takes_classes(factory) else {}
    try:
        with working_directory_importable():
            made = factory(**arguments)
    except (Exception, SystemExit) as error:
        raise own_failed(path, "--arch", "the call of it", error) from error
    if not isinstance(made, nn.Module):
        raise FairpruneError(f"it returned {type(made).__name__}, not a torch.nn.Module", where=f"--arch {path}")
    return made


def _takes_classes(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == "num_classes" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
