"""Pruning methods; each module of this folder has a class `Method`, and a user's own is `package.module:Class`."""

from __future__ import annotations

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.pruning.method import Dual, Method
from fairprune_cli.pruning.options import MethodOptions


def names() -> list[str]:
    return plugins.METHOD.names()


def get(name: str) -> type[Method]:
    """The class of the method `name`.

    Args:
        name: of the listing; or `package.module:Class`, which is imported: pass only what the user has typed.

    Raises:
        FairpruneError: no such method, one that cannot be loaded, or something that is no method.
    """
    if plugins.is_import_path(name):
        found = plugins.import_own(name, "--method", "mymethods.norm:MyMethod", "a class derived from Method")
        where = f"--method {name}"
    else:
        module = plugins.METHOD.load(name)
        found, where = module.Method, str(module.__file__)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise FairpruneError(
            f"{getattr(found, '__name__', found)} is not a class derived from fairprune_cli.pruning.method.Method",
            where=where, hint="docs/extending.md has an example",
        )  # fmt: skip
    if found.scores is Method.scores:
        raise FairpruneError(
            f"{found.__name__} does not define scores", where=where, hint="docs/extending.md has an example"
        )
    return found


__all__ = ["Dual", "Method", "MethodOptions", "get", "names"]
