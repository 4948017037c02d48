"""Entry point of the console script and of `python -m fairprune_cli`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
import warnings
from typing import TextIO

from fairprune_cli.core.errors import ExitCode, FairpruneError, OwnFault
from fairprune_cli.core.launch import is_first, several_processes
from fairprune_cli.core.machine_faults import fault_of_machine
from fairprune_cli.core.out_of_memory import is_out_of_memory
from fairprune_cli.core.plain_characters import use_plain_characters
from fairprune_cli.core.printable import one_line
from fairprune_cli.core.terminal import Terminal


def main() -> None:
    """Run the command line; every way out is one of the documented exit codes."""
    # Two threads that spin while they wait slow each other down many times over on few cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _open_closed_streams()
    use_plain_characters(sys.stdout, sys.stderr)
    warnings.showwarning = _show_warning
    if logging.lastResort is not None:  # where a library's log goes that nobody has asked for
        logging.lastResort.setFormatter(_OneLine())
    try:
        code = run(sys.argv[1:])
    except _Terminated:  # while it said what had happened
        code = ExitCode.TERMINATED
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # torchrun sends one to all when one of them has ended
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has left (`| head`); what it asked for was delivered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(int(code))


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """A warning of Python's, from a library or own code: one line, whatever names and bytes it quotes."""
    place = f"{os.path.basename(filename)}:{lineno}"
    Terminal().command(f"{category.__name__} ({place}): {' '.join(str(message).split())}")


class _OneLine(logging.Formatter):
    """What a library logs as one line, whatever names and bytes it quotes."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def _open_closed_streams() -> None:
    """Point closed standard streams (`>&-`) at nothing, or the next file that is opened would take their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def run(arguments: list[str]) -> ExitCode:
    """Run one command line and turn what happens into an exit code."""
    import typer

    from fairprune_cli.commands.app import app

    signal.signal(signal.SIGTERM, _terminated)
    terminal = Terminal()
    try:
        if several_processes() and arguments[:1] not in (["prune"], ["audit"]):
            raise FairpruneError(
                "only prune and audit work in several processes", where=f"fairprune {' '.join(arguments[:1])}",
                hint="start it without torchrun",
            )  # fmt: skip
        result = app(args=arguments, prog_name="fairprune", standalone_mode=False)
        return ExitCode(result) if isinstance(result, int) else ExitCode.OK
    except FairpruneError as error:
        if is_first() or isinstance(error, OwnFault):  # as a rule the first one knows what went wrong on the others
            terminal.error(str(error))
        return error.code
    except typer.Exit as leaving:
        return ExitCode(leaving.exit_code)
    except _Terminated:
        terminal.error("terminated")
        return ExitCode.TERMINATED
    except (KeyboardInterrupt, typer.Abort):
        terminal.error("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        if isinstance(error, _usage_errors()):
            return _usage(terminal, error)
        return _internal(terminal, error)


def _usage_errors() -> type[Exception]:
    """The base of what the command-line parser raises; newer versions of typer bring their own copy of click."""
    import typer

    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _usage(terminal: Terminal, error: Exception) -> ExitCode:
    context = getattr(error, "ctx", None)
    where = context.command_path if context else "fairprune"
    message = error.format_message()  # type: ignore[attr-defined]
    terminal.error(str(FairpruneError(message, hint=f"see {where} --help")))
    return ExitCode.BAD_INPUT


class _Terminated(BaseException):
    """SIGTERM outside of a training loop."""


def _terminated(*_: object) -> None:
    raise _Terminated


def _internal(terminal: Terminal, error: Exception) -> ExitCode:
    told = fault_of_machine(error)
    if os.environ.get("FAIRPRUNE_DEBUG") and not is_out_of_memory(error):
        lines = "".join(traceback.format_exception(error)).splitlines()  # what the error says may look like our words
        terminal.error("\n".join(f"| {one_line(line)}" for line in lines))
    elif told is not None:
        terminal.error(str(told))
    else:
        where = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:500]
        place = f"{os.path.basename(where.filename)}:{where.lineno}"
        said = f"internal error: {type(error).__name__}: {text} ({place})"
        terminal.error(str(FairpruneError(said, hint="run again with FAIRPRUNE_DEBUG=1 and report what it prints")))
    return ExitCode.RUNTIME


if __name__ == "__main__":
    main()
