"""What --help shows of a command: the options that most calls need; --help-all shows all, in groups."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
import typer.core

from fairprune_cli.core import setting_docs as docs
from fairprune_cli.run.options import FIELDS, Settings

_ALL = "fairprune.help_all"
_CALL = "The call"  # group of what is no setting


def _show_all(context: typer.Context, wanted: bool) -> None:
    if wanted:
        context.meta[_ALL] = True
        typer.echo(context.get_help())
        raise typer.Exit


_HelpAll = Annotated[
    bool, typer.Option("--help-all", is_eager=True, callback=_show_all, help="show every option, by group, and exit")
]


def with_help_all(function: Callable[..., int]) -> Callable[..., int]:
    """The same command with the flag --help-all."""
    hints = typing.get_type_hints(inspect.unwrap(function), include_extras=True)
    own = inspect.signature(function)
    parameters = [
        p.replace(annotation=hints.get(name, p.annotation), kind=p.KEYWORD_ONLY) for name, p in own.parameters.items()
    ]
    more = inspect.Parameter("help_all", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_HelpAll)

    def command(**values: Any) -> int:
        values.pop("help_all")
        return function(**values)

    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    command.__signature__ = own.replace(parameters=[*parameters, more])  # type: ignore[attr-defined]
    return command


def page_of(common: Sequence[str], lines: Sequence[str]) -> type[typer.core.TyperCommand]:
    """The class of a command whose help begins with what is common.

    Args:
        common: names of its parameters; all of them where there are none.
        lines: commands to type, as they are.
    """

    class Page(typer.core.TyperCommand):
        def format_options(self, ctx: Any, formatter: Any) -> None:
            shown = ctx.meta.get(_ALL) or not common
            sections: dict[str, list[tuple[str, str]]] = {}
            for param in self.get_params(ctx):
                record = param.get_help_record(ctx)
                if record is None or not (shown or _is_common(param, common)):
                    continue
                sections.setdefault(_title(param, bool(ctx.meta.get(_ALL))), []).append(record)
            for title, records in sections.items():
                with formatter.section(title):
                    formatter.write_dl(records)

        def format_epilog(self, ctx: Any, formatter: Any) -> None:
            if lines:
                with formatter.section("Examples"):
                    for line in lines:
                        formatter.write(f"{'':{formatter.current_indent}}{line}\n")

    return Page


def _is_common(param: Any, common: Sequence[str]) -> bool:
    return param.param_type_name == "argument" or param.name in (*common, "help", "help_all")


def _title(param: Any, by_group: bool) -> str:
    if param.param_type_name == "argument":
        return "Arguments"
    if not by_group:
        return "Options"
    return docs.title_of(docs.group_of(Settings, param.name)) if param.name in FIELDS else _CALL
