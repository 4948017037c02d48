"""A network of one's own, named as `package.module:factory`; only for names that the user has typed."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from fairprune_cli.core.errors import FairpruneError, nearest

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_import_path(name: str) -> bool:
    """Whether an architecture's name means "import this", and is thus nothing to take from a file."""
    return ":" in name


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    """Console scripts do not look into the working directory; `python -m` does, and people expect it."""
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added and here in sys.path:
            sys.path.remove(here)


def import_factory(path: str) -> Callable[..., Any]:
    """The callable behind `package.module:factory`.

    Raises:
        FairpruneError: not of that form, no such module, the module fails to import, no such name in it,
            or the name is not callable.
    """
    if not _PATH.fullmatch(path):
        raise FairpruneError(
            "not of the form package.module:factory",
            where=f"--arch {path}",
            hint="e.g. mynets.small:make_net",
        )
    module_name, _, attribute = path.partition(":")
    try:
        with _working_directory_importable():
            found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise FairpruneError(
                f"there is no module {error.name!r}",
                where=f"--arch {path}",
                hint="run from the folder that holds it, or put that folder into PYTHONPATH",
            ) from error
        raise _failed(path, f"importing {module_name}", error) from error
    # The user's module may raise anything, and some scripts without a main guard call sys.exit.
    except (Exception, SystemExit) as error:
        raise _failed(path, f"importing {module_name}", error) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [name for name in dir(found) if not name.startswith("_")]
            raise FairpruneError(
                f"{module_name} has no {attribute!r}", where=f"--arch {path}", hint=nearest(part, public)
            )
        found = getattr(found, part)
    if not callable(found):
        raise FairpruneError(
            f"{attribute} is {type(found).__name__}, not callable",
            where=f"--arch {path}",
            hint="name a function or class that returns the network: factory(num_classes=K) or factory()",
        )
    return found


def build_from_factory(path: str, num_classes: int) -> nn.Module:
    """Call `factory(num_classes=K)` where it takes that argument, else `factory()`.

    Raises:
        FairpruneError: as `import_factory`, or the call fails, or gives no torch.nn.Module.
    """
    factory = import_factory(path)
    arguments = {"num_classes": num_classes} if _takes_classes(factory) else {}
    try:
        with _working_directory_importable():
            made = factory(**arguments)
    except (Exception, SystemExit) as error:
        raise _failed(path, "the call of it", error) from error
    if not isinstance(made, nn.Module):
        raise FairpruneError(f"it returned {type(made).__name__}, not a torch.nn.Module", where=f"--arch {path}")
    return made


def _takes_classes(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == "num_classes" or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def _failed(path: str, what: str, error: BaseException) -> FairpruneError:
    return FairpruneError(f"{what} failed with {type(error).__name__}: {error}", where=f"--arch {path}")
