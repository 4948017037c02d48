"""Entry point of the console script and of `python -m fairprune_cli`.

Everything is imported late: until then a signal ends the process in words, too.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairprune_cli.core.errors import ExitCode
    from fairprune_cli.core.terminal import Terminal


def entry() -> None:
    """Run the command line in a process that ends here."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and (name == "SIGINT" or signal.getsignal(number) != signal.SIG_IGN):
            signal.signal(number, _end_before_anything)
    from fairprune_cli.core import ending

    ending.name_exits_of_libraries()
    code = 3
    try:
        main()
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException as error:  # where there is no memory or file left to say it otherwise
        text = "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {error}"
        os.write(2, f"error: {text}\n".encode(errors="replace"))
    finally:
        ending.leave(code)


def _end_before_anything(number: int, _: object) -> None:
    interrupted = number == signal.SIGINT
    try:
        os.write(2, f"error: {'interrupted' if interrupted else 'terminated'}: nothing was begun\n".encode())
    finally:
        os._exit(130 if interrupted else 143)


def main() -> None:
    """Run the command line; every way out is a SystemExit with one of the documented exit codes."""
    from fairprune_cli.core.library_messages import tell_in_one_line
    from fairprune_cli.core.plain_characters import use_plain_characters

    # Two threads that spin while they wait slow each other down many times over on few cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    _open_closed_streams()
    use_plain_characters(sys.stdout, sys.stderr)
    tell_in_one_line()
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError:
        # The reader has left (`| head`) and had what it asked for, or a full disk has been told of.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(int(code))


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
    from fairprune_cli.core.errors import ExitCode
    from fairprune_cli.core.signals import Interruption, signals_end_the_process
    from fairprune_cli.core.terminal import Terminal

    terminal = Terminal()
    try:
        with signals_end_the_process():
            return _run(arguments, terminal)
    except Interruption as stopped:  # while it said what had happened
        return stopped.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _run(arguments: list[str], terminal: Terminal) -> ExitCode:
    from fairprune_cli.core.errors import ExitCode, FairpruneError, OwnFault
    from fairprune_cli.core.launch import is_first, several_processes
    from fairprune_cli.core.signals import interruption_behind

    try:
        import typer

        from fairprune_cli.commands.app import app

        if several_processes() and arguments[:1] not in (["prune"], ["audit"]):
            raise FairpruneError(
                "only prune and audit work in several processes", where=f"fairprune {' '.join(arguments[:1])}",
                hint="start it without torchrun",
            )  # fmt: skip
        result = app(args=arguments, prog_name="fairprune", standalone_mode=False)
        if result == ExitCode.INTERRUPTED:  # what typer makes of any signal that is raised
            raise KeyboardInterrupt
        return ExitCode(result) if isinstance(result, int) else ExitCode.OK
    except FairpruneError as error:
        if is_first() or isinstance(error, OwnFault):  # as a rule the first one knows what went wrong on the others
            terminal.error(str(error))
        return error.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except (KeyboardInterrupt, Exception) as error:
        if (stopped := interruption_behind(error)) is not None:
            terminal.error(str(stopped))
            return stopped.code
        if isinstance(error, typer.Exit):
            return ExitCode(error.exit_code)
        if isinstance(error, _usage_errors()):
            return _usage(terminal, error)
        return _internal(terminal, error)


def _usage_errors() -> type[Exception]:
    """The base of what the command-line parser raises; newer versions of typer bring their own copy of click."""
    import typer

    return next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _usage(terminal: Terminal, error: Exception) -> ExitCode:
    from fairprune_cli.core.errors import ExitCode, FairpruneError

    context = getattr(error, "ctx", None)
    where = context.command_path if context else "fairprune"
    message = error.format_message()  # type: ignore[attr-defined]
    terminal.error(str(FairpruneError(message, hint=f"see {where} --help")))
    return ExitCode.BAD_INPUT


def _internal(terminal: Terminal, error: BaseException) -> ExitCode:
    import traceback

    from fairprune_cli.core.errors import ExitCode, FairpruneError
    from fairprune_cli.core.machine_faults import fault_of_machine
    from fairprune_cli.core.out_of_memory import is_out_of_memory
    from fairprune_cli.core.printable import one_line

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
    entry()
