"""Flags of the commands: each one's text and default are those of its setting, written once beside its user."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Container, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from fairprune_cli.core import setting_docs as docs
from fairprune_cli.core import settings as layers
from fairprune_cli.core.errors import FairpruneError, nearest
from fairprune_cli.core.settings import flag_of
from fairprune_cli.data.manifest.image_shape import Size, parse_size
from fairprune_cli.run.options import FIELDS, GATES, Resolved, Settings, settled


class Given(dict[str, Any]):
    """Values of the settings that a call gives, by key.

    Attributes:
        pairs: keys that --set gave.
    """

    pairs: frozenset[str] = frozenset()

    def spelled(self, key: str) -> str:
        """What a setting was given as, for messages."""
        return f"--set {key}" if key in self.pairs else flag_of(key)

    def beside(self, **values: Any) -> Given:
        """The same with values that a command has of its own, where none was given."""
        made = Given({**values, **self})
        made.pairs = self.pairs
        return made


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="checkpoint, model.safetensors or run folder")]
Config = Annotated[Path | None, typer.Option("--config", help="settings file [fairprune.yaml here, if any]")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress, no notes")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="check everything and say what would be done")]
Out = Annotated[Path | None, typer.Option("--out", help="where to write")]
Force = Annotated[bool, typer.Option("--force", help="overwrite what is there")]
ImageSize = Annotated[
    str | None, typer.Option("--size", metavar="S|HxW", help="size of the images in pixels, as 64 or 48x96")
]
Trust = Annotated[bool, typer.Option("--trust-checkpoint", help="really unpickle the file: it may run code")]

SET = "extra"  # any other setting
_Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any other setting; see docs")]

# What the commands that compute share, in the order in which each lists it.
COMMON = ("data", "arch", "trust", "config", "seed", "device", "as_json", "quiet", "dry_run")


def size_of(text: str | None) -> Size | None:
    """What --size was given as; None where it was not."""
    return None if text is None else parse_size(text)


def text_of(key: str) -> str:
    """The help of a setting's flag: what it means, the words it knows, and its default."""
    field = FIELDS[key]
    words = layers.words_of(field)
    default = "" if field.default in (None, (), False) else f" [{docs.default_in_words(field)}]"
    return field.metadata["text"] + (f" ({', '.join(words)})" if words else "") + default


def flags(*order: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A command whose parameters are its function's own and the settings that are named.

    Args:
        order: all of them as --help lists them: the function's own parameters by name, keys of settings, and `SET`.
            What was given of the settings, the pairs of --set among them, reaches the function as `given`.
    """

    def decorated(function: Callable[..., int]) -> Callable[..., int]:
        hints = typing.get_type_hints(function, include_extras=True)
        own = {name: p for name, p in inspect.signature(function).parameters.items() if name != "given"}
        keys = [name for name in order if name not in own and name != SET]
        missing = set(own) - set(order)
        if missing:
            raise TypeError(f"{function.__module__}: no place in --help for {', '.join(sorted(missing))}")

        def command(**values: Any) -> int:
            given = Given({key: _once(key, value) for key in keys if (value := values.pop(key)) is not None})
            pairs = values.pop(SET, None) or ()
            taken = [name for name in own if name in FIELDS and values[name] is not None]
            return function(given=with_pairs(given, pairs, taken), **values)

        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            own[name].replace(annotation=hints[name], kind=kind)
            if name in own
            else inspect.Parameter(name, kind, default=None, annotation=_Set if name == SET else _annotation(name))
            for name in order
        ]
        command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
        command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
        return command

    return decorated


def _annotation(key: str) -> Any:
    """Values stay text until all layers are checked together; what is true or false needs no value."""
    default = FIELDS[key].default
    several = isinstance(default, tuple) or key in GATES
    if isinstance(default, bool):
        return Annotated[bool | None, typer.Option(flag_of(key), help=text_of(key), show_default=False)]
    kind: Any = list[str] if several else str
    words = layers.words_of(FIELDS[key])
    option = typer.Option(
        flag_of(key), help=text_of(key), show_default=False, metavar=f"<{docs.kind_in_words(Settings, key)}>",
        autocompletion=(lambda incomplete: [word for word in words if word.startswith(incomplete)]) if words else None,
    )  # fmt: skip
    return Annotated[kind | None, option]


def names_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The names of a list that is given as a flag, which is repeated, or has them by comma, or both."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _once(key: str, value: Any) -> Any:
    """What a flag was given as. A gate's flag that stands twice would lose the first without a word."""
    if not isinstance(value, list):
        return value
    if key not in GATES:
        return names_of(value)
    if len(value) > 1:
        raise FairpruneError("is given twice", where=flag_of(key), hint="give it once, or put rules into a --policy")
    return value[0] if value else None


def with_pairs(given: Given, pairs: Iterable[str], taken: Container[str] = ()) -> Given:
    """The settings given as flags and those of --set KEY=VALUE, which may not be among `taken`."""
    given = Given(given)
    flagged = frozenset(given)
    for pair in pairs:
        key, sign, value = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not sign:
            raise FairpruneError(f"{pair!r} is not KEY=VALUE", where="--set", hint="for example --set rho=0.1")
        if key not in FIELDS:
            raise FairpruneError(f"unknown key {key!r}", where="--set", hint=nearest(key, FIELDS))
        if key in given or key in taken:
            raise FairpruneError(f"{key} is given twice", where="--set", hint="give it once")
        given[key] = {"true": True, "false": False}.get(value.lower(), value)
    given.pairs = frozenset(given) - flagged
    return given


def resolved(config: Path | None, given: Given) -> Resolved:
    """All settings of a command; see `run.options.settled`."""
    return settled(given, config, given.spelled)
