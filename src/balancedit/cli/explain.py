"""`balancedit explain`: why a question gets the answer it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balancedit import shapes
from balancedit.cli import output, remote
from balancedit.cli.options import (
    DEFAULT_EDITS,
    EditsOption,
    LengthOption,
    ModelOptions,
    MoreImagesOption,
    OptionalImageArgument,
    OutputOptions,
    QuestionArgument,
    ServerOptions,
    with_options,
)

if TYPE_CHECKING:
    from rich.table import Table

    from balancedit.serving.client.client import Why
    from balancedit.types import Explanation


@with_options
def explain(
    image: OptionalImageArgument,
    question: QuestionArgument,
    options: ModelOptions,
    out: OutputOptions,
    at: ServerOptions,
    more: MoreImagesOption = None,
    max_new_tokens: LengthOption = None,
    edits: EditsOption = DEFAULT_EDITS,
) -> dict[str, Any] | None:
    """Say which edit answers, how near it lies and how far it reaches."""
    from balancedit.cli import session
    from balancedit.inputs.text import check_question

    there = remote.client(at, edits, options)
    if there is not None:
        question = check_question(question)
        remote.check_length(max_new_tokens)
        why = there.explain(remote.optional_pictures(image, more), question)
        if out.json:
            return shapes.explained_as(why.shape)
        _print(why)
        return None
    picture = session.optional_pictures(image, more)
    question = check_question(question)
    editor = session.load_editor(options, session.existing_edits(edits), debug=out.debug)
    known = editor.damaged
    explanation = editor.explain(picture, question, max_new_tokens=max_new_tokens)
    session.warn_of_damage(editor, known)
    if out.json:
        return shapes.explained(explanation)
    _print(explanation)
    return None


def _print(explanation: Explanation | Why) -> None:
    console = output.console()
    console.print(output.printable(explanation.answer.text), style="bold")
    console.print(output.printable(explanation.reason))
    if explanation.neighbours:
        console.print(neighbour_table(explanation))


def neighbour_table(explanation: Explanation | Why) -> Table:
    """The nearest edits, nearest first, with distance against radius."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("edit", no_wrap=True)
    table.add_column("question → answer")
    table.add_column("distance", justify="right", no_wrap=True)
    table.add_column("radius", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("inside", no_wrap=True)
    for n in explanation.neighbours:
        table.add_row(
            n.edit.id,
            output.cell(n.edit.question, n.edit.target),
            output.number(n.distance),
            output.number(n.radius),
            "" if n.distance is None or n.radius is None else bar(n.distance, n.radius),
            "yes" if n.inside else "no",
            style="bold" if n.edit.id == explanation.answer.fired else None,
        )
    return table


def bar(distance: float, radius: float, width: int = 24) -> str:
    """Distance against radius as text: ``●`` the query, ``│`` the radius, a third of the way."""
    edge = width // 3
    place = round(edge * distance / radius) if radius > 0 else width - 1
    cells = ["━" if i < edge else "─" for i in range(width)]
    cells[edge] = "│"
    cells[min(place, width - 1)] = "●"
    return "".join(cells)
