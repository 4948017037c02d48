"""Fairness notions; each module builds one for a number of classes, and a user's own is `package.module:name`."""

from __future__ import annotations

from fairprune_cli.core import plugins
from fairprune_cli.core.errors import FairpruneError
from fairprune_cli.fairness.notions.base import Notion


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
    if not plugins.is_import_path(name):
        module = plugins.NOTION.load(name)
        made, where = module.build(classes), str(module.__file__)
    else:
        build = plugins.import_own(
            name, "--notion", "mynotions.recall:MyNotion", "a class or function that gives a Notion: build(classes)"
        )
        where = f"--notion {name}"
        try:
            made = build(classes)
        except (Exception, SystemExit) as error:
            raise plugins.own_failed(name, "--notion", "the call of it", error) from error
    if not isinstance(made, Notion):
        raise FairpruneError(
            f"it gave {type(made).__name__}, not a Notion", where=where, hint="docs/extending.md has an example"
        )
    return made


__all__ = ["Notion", "get", "names"]
