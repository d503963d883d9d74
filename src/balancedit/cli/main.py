"""The entry point: registers the commands, turns their results into JSON and errors into one line.

A command returns a dictionary when `--json` was given and prints for people otherwise.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any, TextIO

import typer

from balancedit import shapes
from balancedit.cli import bench, data, models, output, serve
from balancedit.cli.ask import ask
from balancedit.cli.demo.command import demo
from balancedit.cli.edit import edit
from balancedit.cli.edit_many import edit_many
from balancedit.cli.explain import explain
from balancedit.cli.list_ import list_
from balancedit.cli.preview import preview
from balancedit.cli.revert import revert
from balancedit.cli.show import show
from balancedit.errors import BalanceditError
from balancedit.version import __version__

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    name="balancedit",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Teach a vision-language model one new answer, with a scope of its own; explain it, "
    "undo it.",
    epilog="New here? [bold]balancedit demo[/bold] shows all of it in about a minute.",
)
for _command, _name in (
    (demo, "demo"),
    (ask, "ask"),
    (edit, "edit"),
    (edit_many, "edit-many"),
    (preview, "preview"),
    (explain, "explain"),
    (list_, "list"),
    (show, "show"),
    (revert, "revert"),
):
    app.command(_name)(_command)
app.add_typer(models.app, name="models")
app.add_typer(serve.app, name="serve")
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"balancedit {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _start(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, `sys.argv` by default; returns the exit code.

    0 done; 1 an error, said in one line; 2 wrong usage; 130 interrupted.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    flags = args[: args.index("--")] if "--" in args else args
    json, debug = "--json" in flags, "--debug" in flags
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without Unicode gets question marks
    stdout = sys.stdout
    try:
        # Whatever a library prints must not end up beside the JSON object.
        with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():
            result = app(args, prog_name="balancedit", standalone_mode=False)
        if isinstance(result, dict):
            _print(stdout, output.as_json(result))
        if result == _INTERRUPTED:  # what newer Typers make of KeyboardInterrupt
            raise KeyboardInterrupt
        stdout.flush()
        if isinstance(result, dict) and result.get("failed"):
            return 1  # part of what was asked was not done
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        output.note("error", "interrupted; nothing half-done was kept")
        return _INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except Exception as error:
        if hasattr(error, "format_message"):  # Typer's own, from a vendored or separate Click
            return _usage(error)
        if debug:
            traceback.print_exc()
        message = _message(error)
        output.note("error", message)
        if json:
            _print(stdout, output.as_json(shapes.error(message, type(error).__name__)))
        return 1


def _print(stdout: TextIO, text: str) -> None:
    print(text, file=stdout, flush=True)


def _message(error: Exception) -> str:
    """What to say of an error: ours name the remedy themselves."""
    if isinstance(error, BalanceditError):
        return str(error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "out of memory; use a smaller model, --dtype bfloat16 or another --device"
    if isinstance(error, OSError) and error.strerror:
        what = f"{error.filename}: " if error.filename else ""
        return f"{what}{error.strerror}; check the path, its permissions and the disk's free space"
    return (
        f"{type(error).__name__}: {error} (this is a bug in balancedit; --debug shows where, "
        "please report it)"
    )


def _usage(error: Any) -> int:
    """Say what was wrong with the arguments; returns the exit code."""
    path = getattr(getattr(error, "ctx", None), "command_path", "balancedit")
    message = str(error.format_message()).strip()
    message = message[:1].lower() + message[1:].rstrip(".")
    output.note("error", f"{message} (see `{path} --help`)")
    return int(getattr(error, "exit_code", 2))
