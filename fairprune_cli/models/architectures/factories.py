"""A network of one's own, named as `package.module:factory`; only for names that the user has typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
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
    if isinstance(factory, nn.Module):
        raise FairpruneError(
            "it is a network, and what is asked for is what builds it", where=f"--arch {path}",
            hint="name its class, or a function that returns it",
        )  # fmt: skip
    positional, named = _arguments(factory, num_classes)
    try:
        with working_directory_importable():
            made = factory(*positional, **named)
    except (Exception, SystemExit) as error:
        failed = own_failed(path, "--arch", "the call of it", error)
        if isinstance(error, TypeError):
            failed.hint = "it is called with num_classes alone, or with nothing: name a function that gives the rest"
        raise failed from error
    if (dtype := torch.get_default_dtype()) != torch.float32:
        raise FairpruneError(
            f"torch's default is {str(dtype).removeprefix('torch.')} where its code has run, and networks are worked "
            "with in float32",
            where=f"--arch {path}", hint="leave torch.set_default_dtype out; weights in any format are converted",
        )  # fmt: skip
    if not isinstance(made, nn.Module):
        raise FairpruneError(f"it returned {type(made).__name__}, not a torch.nn.Module", where=f"--arch {path}")
    return made


def _arguments(factory: Callable[..., Any], num_classes: int) -> tuple[tuple[int, ...], dict[str, int]]:
    """The number of classes as the factory takes it, by position or by name; nothing where it does not."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return (), {"num_classes": num_classes}
    first = next(iter(parameters), None)
    if first is not None and first.name == "num_classes" and first.kind is inspect.Parameter.POSITIONAL_ONLY:
        return (num_classes,), {}
    takes = any(p.name == "num_classes" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return (), {"num_classes": num_classes} if takes else {}
