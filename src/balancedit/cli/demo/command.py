"""`balancedit demo`: the whole story on the default model, with a picture of it at the end."""

from __future__ import annotations

import shlex
import tempfile
import time
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balancedit.cli import output
from balancedit.cli.options import ModelOptions, OutputOptions, with_options
from balancedit.errors import InputError
from balancedit.files.names import expanded, is_directory

if TYPE_CHECKING:
    from balancedit.cli.demo.play import Play, Undone

_METHOD = "balancedit"


@with_options
def demo(
    options: ModelOptions,
    out: OutputOptions,
    picture: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="Where to write the picture.")
    ] = Path("balancedit-demo.png"),
    edits: Annotated[
        str | None,
        typer.Option(
            "--edits",
            metavar="DIR",
            help="Keep the demo's edit, which it reverts, in this directory (or scheme://place).",
            show_default="a temporary one",
        ),
    ] = None,
) -> dict[str, Any] | None:
    """Watch a model learn one answer, keep all others, explain itself and forget it again."""
    started = time.perf_counter()
    if options.method != _METHOD:
        raise InputError(
            f"the demo tells the story of a radius, which {options.method} has not; leave --method "
            f"out, or use `balancedit edit --method {options.method}`"
        )
    _check_writable(picture)
    with ExitStack() as stack:
        if edits is None:
            folder = tempfile.TemporaryDirectory(prefix="balancedit-demo-")
            edits = stack.enter_context(folder)
        return _play(options, out, picture, edits, started)


def _play(
    options: ModelOptions, out: OutputOptions, picture: Path, edits: str, started: float
) -> dict[str, Any] | None:
    from rich.console import Console

    from balancedit.cli import session
    from balancedit.cli.demo import figure
    from balancedit.cli.demo.play import Play
    from balancedit.cli.demo.story import Story

    story = Story(Console(quiet=True) if out.json else output.console())
    editor = session.load_editor(options, edits, debug=out.debug)
    play = Play(editor, options.prompt)
    story.opening(options.model, len(play.images) - 1)
    with output.working("asking …"):
        answers = play.ask()
    story.asked(answers)
    with output.working("learning …"):
        record = play.edit()
    story.edited(record)
    with output.working("asking again …"):
        outcomes = play.ask_again()
    story.held(outcomes)
    story.kept(outcomes)
    with output.working("looking up distances …"):
        explanations = play.explain()
    story.explained(explanations)
    with output.working("undoing …"):
        undone = play.undo()
    story.undone(undone)
    with output.working("drawing …"):
        figure.draw(outcomes, record, play.images, picture)
    checks = [*(o.as_hoped for o in outcomes), undone.same_answer, undone.logits_equal]
    seconds = time.perf_counter() - started
    explained = [probe for probe, _ in explanations]
    story.closing(checks, seconds, str(picture), explained, _as_typed(options))
    if not out.json:
        return None
    return _report(play, undone, options, picture, checks, seconds)


def _report(
    play: Play,
    undone: Undone,
    options: ModelOptions,
    picture: Path,
    checks: list[bool],
    seconds: float,
) -> dict[str, Any]:
    assert play.record is not None
    return {
        "model": options.model,
        "method": options.method,
        "preset": options.preset,
        "edit": play.record.to_dict(),
        "answers": [o.to_dict() for o in play.outcomes],
        "explanations": [{"picture": p.picture} | e.to_dict() for p, e in play.explanations],
        "undone": {
            "logits_equal": undone.logits_equal,
            "same_answer": undone.same_answer,
            "logits_moved_by": undone.changed,
        },
        "as_hoped": sum(checks),
        "checks": len(checks),
        "seconds": round(seconds, 1),
        "picture": str(picture),
    }


def _as_typed(options: ModelOptions) -> str:
    """The model options that are not the default, to put behind a command."""
    changed = [f for f in fields(options) if getattr(options, f.name) != f.default]
    return "".join(f" --{f.name} {shlex.quote(getattr(options, f.name))}" for f in changed)


def _check_writable(picture: Path) -> None:
    """Raise `InputError` now, not a minute later, when the picture cannot be written there."""
    from balancedit.errors import InputError

    folder = expanded(picture).absolute().parent
    if not is_directory(folder):
        raise InputError(f"there is no directory '{folder}' for the picture; choose another --out")
    if is_directory(picture):
        raise InputError(f"'{picture}' is a directory; give --out a file name")
