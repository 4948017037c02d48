"""`fairprune config`: every setting with its meaning, default and range; one in full; the schema of fairprune.yaml."""

from __future__ import annotations

from typing import Annotated

import typer

from fairprune_cli.commands.flags import Json
from fairprune_cli.commands.output import print_json, say_next, terminal_of
from fairprune_cli.core import setting_docs as docs
from fairprune_cli.core.errors import ExitCode, FairpruneError, nearest
from fairprune_cli.core.settings import CONFIG_FILE, flag_of
from fairprune_cli.run.options import FIELDS, Settings


def list_command(as_json: Json = False) -> int:
    """Every setting with its meaning, default and range, by group."""
    terminal = terminal_of()
    if as_json:
        print_json({"settings": [docs.record_of(Settings, key) for key in FIELDS]}, terminal)
        return int(ExitCode.OK)
    for number, (group, keys) in enumerate(docs.groups_of(Settings).items()):
        if number:
            terminal.result("")
        terminal.result(docs.title_of(group))
        for key in keys:
            default, values = docs.default_in_words(FIELDS[key]), docs.value_in_words(Settings, key)
            terminal.result(f"  {key} [{default}]: {FIELDS[key].metadata['text']} ({values})")
    say_next(terminal, as_json, "config", "explain", "sparsity")
    return int(ExitCode.OK)


def explain_command(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="a setting, such as sparsity")],
    as_json: Json = False,
) -> int:
    """One setting in full: what it means, what it takes, and where it can be given."""
    terminal = terminal_of()
    key = key.removeprefix("--").replace("-", "_")
    if key not in FIELDS:
        raise FairpruneError(f"unknown key {key!r}", where="fairprune config explain", hint=nearest(key, FIELDS))
    commands = _commands_with(key, context)
    record = docs.record_of(Settings, key)
    record |= {
        "flag": flag_of(key) if commands else None,
        "commands": commands,
        "variable": f"FAIRPRUNE_{key.upper()}",
    }
    if as_json:
        print_json(record, terminal)
        return int(ExitCode.OK)
    flag = f"{flag_of(key)} of {', '.join(commands)}" if commands else f"--set {key}=VALUE"
    terminal.result(f"{key}: {record['description']}")
    for name, text in (
        ("group", record["group"]), ("values", docs.value_in_words(Settings, key)),
        ("default", docs.default_in_words(FIELDS[key])), ("flag", flag), ("variable", record["variable"]),
        ("file", f"{key}: in {CONFIG_FILE}"),
    ):  # fmt: skip
        terminal.result(f"  {name:<9} {text}")
    say_next(terminal, as_json, *((commands[0], "--help") if commands else ("config", "list")))
    return int(ExitCode.OK)


def schema_command() -> int:
    """The JSON schema (draft 2020-12) of fairprune.yaml, for editors and checks."""
    print_json(docs.schema_of(Settings, CONFIG_FILE), terminal_of())
    return int(ExitCode.OK)


def _commands_with(key: str, context: typer.Context) -> list[str]:
    """The commands that have a flag for a setting."""
    listed = getattr(context.find_root().command, "commands", {})
    return [name for name, command in listed.items() if any(flag.name == key for flag in command.params)]
