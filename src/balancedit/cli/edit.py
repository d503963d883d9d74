"""`balancedit edit`: teach the model one new answer and keep it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balancedit import shapes
from balancedit.cli import output, remote
from balancedit.cli.options import (
    DEFAULT_EDITS,
    EditsOption,
    ImageArgument,
    ModelOptions,
    MoreImagesOption,
    OutputOptions,
    QuestionArgument,
    ServerOptions,
    with_options,
)

if TYPE_CHECKING:
    from balancedit.types import Edit


@with_options
def edit(
    image: ImageArgument,
    question: QuestionArgument,
    answer: Annotated[
        str, typer.Argument(metavar="ANSWER", help="What the model should answer from now on.")
    ],
    options: ModelOptions,
    out: OutputOptions,
    at: ServerOptions,
    more: MoreImagesOption = None,
    rephrase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="The question in other words, to measure the edit's scope with; may be given "
            "several times. Without it the model words its own.",
        ),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(
            metavar="black|white|grey|noise|IMAGE",
            help="The picture that the edit must not reach.",
            show_default="black",
        ),
    ] = None,
    new: Annotated[
        bool,
        typer.Option(
            "--new",
            help="The model knows nothing of this: what it says now is a guess, and does not "
            "narrow where the edit fires.",
        ),
    ] = False,
    edits: EditsOption = DEFAULT_EDITS,
) -> dict[str, Any] | None:
    """Teach the model a new answer to a question about a picture."""
    from balancedit.cli import session
    from balancedit.inputs.text import check_answer, check_question

    # Everything that can be wrong with the arguments, before the model loads.
    question, answer = check_question(question), check_answer(answer)
    rephrasings = [check_question(text) for text in rephrase or ()]
    there = remote.client(at, edits, options)
    if there is not None:
        fact = remote.fact(image, more, question, answer, rephrasings, negative, new)
        with output.working(f"learning to answer '{answer}' …"):
            record = there.edit(fact)
        if out.json:
            return shapes.edit(record)
        _print(record, there.address, edits)
        return None
    from balancedit.inputs.images import ANCHORS, open_image

    picture = session.pictures(image, more)
    anchor: Any = negative
    if negative is not None and negative not in ANCHORS:
        anchor = open_image(session.picture_path(negative))
    editor = session.load_editor(options, edits, debug=out.debug)
    with output.working(f"learning to answer '{answer}' …"):
        record = editor.edit(
            picture, question, answer, rephrasings=rephrasings, negative=anchor, new=new
        )
    if out.json:
        return shapes.edit(record)
    _print(record, str(edits), edits)
    return None


def _print(record: Edit, where: str, edits: str) -> None:
    from balancedit.types import KnownEdit

    console = output.console()
    there = isinstance(record, KnownEdit)
    console.print(f"edit {record.id}{' was there already' if there else ''}", style="bold")
    before, after = record.answer_before, record.answer_after or ""
    console.print(f"  question  {output.printable(record.question)}")
    console.print(f"  answer    {output.printable(before)} → {output.printable(after)}")
    console.print(f"  radius    {_reach(record)}")
    console.print(f"  took      {record.seconds:.1f} s")
    if record.overlaps:
        console.print(f"  overlaps  {record.overlaps}, which it builds on")
    if record.retires:
        console.print(f"  replaces  {', '.join(record.retires)}; reverting brings it back")
    for warning in record.warnings:
        output.note("warning", warning)
    console.print(f"Kept in {where}. Undo it with: {_undo(record, edits)}", style="dim")


def _reach(record: Edit) -> str:
    """The radius, and what it was measured with."""
    if record.radius is None:
        return "none: every prompt is reached"
    if record.d_positive is None:
        return output.number(record.radius)
    return (
        f"{output.number(record.radius)} (a rephrasing lies at "
        f"{output.number(record.d_positive)}, the {_negative(record)} at "
        f"{output.number(record.d_negative)})"
    )


def _negative(record: Edit) -> str:
    return "negative picture" if record.negative == "given" else f"{record.negative} picture"


def _undo(record: Edit, edits: str) -> str:
    where = "" if edits == DEFAULT_EDITS else f" --edits {shlex.quote(edits)}"
    return f"balancedit revert {record.id}{where}"
