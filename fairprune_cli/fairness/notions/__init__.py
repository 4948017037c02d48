"""Fairness notions; each module of this folder builds one for a number of classes.

A user's own is `package.module:name`. Listing them loads neither numpy nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError

if TYPE_CHECKING:
    from fairprune_cli.fairness.notion import Notion


def names() -> list[str]:
    return plugins.NOTION.names()


def get(name: str, classes: int) -> Notion:
    """The notion `name` for `classes` classes.

    Args:
        name: of the listing; or `package.module:name`, a class or function that is called with the number of
            classes. It is imported: pass only what the user has typed.

    Raises:
        FairpruneError: no such notion, one that cannot be loaded, or something that gives no notion.
    """
    from fairprune_cli.fairness.notion import Notion

    if plugins.is_import_path(name):
        build = plugins.import_own(
            name, "--notion", "mynotions.recall:MyNotion", "a class or function that gives a Notion: build(classes)"
        )
        where = f"--notion {name}"
        try:
            made = build(classes)
        except (Exception, SystemExit) as error:
            raise plugins.own_failed(name, "--notion", "the call of it", error) from error
    else:
        module = plugins.NOTION.load(name)
        where = str(module.__file__)
        try:
            made = module.build(classes)
        except Exception as error:  # a file may raise anything
            raise FairpruneError(
                f"the notion {name} cannot be built for {classes} classes: {type(error).__name__}: {error}",
                where=where, hint="mend the file, or take it out of the folder",
            ) from error  # fmt: skip
    if not isinstance(made, Notion):
        raise FairpruneError(
            f"it gave {type(made).__name__}, not a Notion", where=where, hint="docs/extending.md has an example"
        )
    return made


def why_unknown(name: str) -> str:
    """The nearest known name where there is no notion of this one, else "".

    A notion of one's own (package.module:Class) is not looked up before it is used: `get` says what is wrong with it.
    """
    return "" if plugins.is_import_path(name) or name in names() else plugins.NOTION.nearest(name)


def heading(name: str) -> tuple[str, int]:
    """What a report calls the gap of a notion, and where its row stands: TITLE and ORDER of its module.

    They are read without importing it, since reports are rendered without numpy. Without them, or for a notion of one's
    own, it is the name, and 100: after the others.
    """
    found = plugins.NOTION.constants(name) if name in names() else {}
    in_words = name.replace("-", " ").replace("_", " ").capitalize()
    return str(found.get("TITLE") or in_words), int(found.get("ORDER", 100))


__all__ = ["Notion", "get", "heading", "names", "why_unknown"]
