"""`balancedit preview`: what an edit would change, without making it."""

from __future__ import annotations

from pathlib import Path
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
    from rich.table import Table

    from balancedit.preview.preview import Preview
    from balancedit.serving.client.records import Previewed

BANK = "bank"


@with_options
def preview(
    image: ImageArgument,
    question: QuestionArgument,
    answer: Annotated[
        str, typer.Argument(metavar="ANSWER", help="What the model would answer from then on.")
    ],
    options: ModelOptions,
    out: OutputOptions,
    at: ServerOptions,
    over: Annotated[
        str,
        typer.Option(
            metavar="LOG|DIR|bank",
            help="What to hold the edit against: a server's query log, a directory of pictures, "
            "or bank, the data set's never-edited things (extra artwork); pictures are asked the "
            "edit's own question.",
        ),
    ] = BANK,
    tenant: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of a query log, one tenant's questions.", show_default="all"
        ),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(metavar="R", help="Another radius.", show_default="as measured", min=0.0),
    ] = None,
    most: Annotated[
        int,
        typer.Option(
            metavar="N", help="Changes whose answers are generated, the nearest first.", min=0
        ),
    ] = 50,
    more: MoreImagesOption = None,
    rephrase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="The question in other words; may be given several times."
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
        bool, typer.Option("--new", help="The model knows nothing of this; see `edit`.")
    ] = False,
    edits: EditsOption = DEFAULT_EDITS,
) -> dict[str, Any] | None:
    """Say what an edit would change, without making it."""
    from balancedit.cli import session
    from balancedit.inputs.text import check_answer, check_question

    # Everything that can be wrong with the arguments, before the model loads.
    question, answer = check_question(question), check_answer(answer)
    rephrasings = [check_question(text) for text in rephrase or ()]
    there = remote.client(at, edits, options, tenant)
    if there is not None:
        remote.check_only_logged(over == BANK)
        fact = remote.fact(image, more, question, answer, rephrasings, negative, new)
        with output.working(f"learning to answer '{answer}' …"):
            served = there.preview(fact, most, radius)
        if out.json:
            return served.to_dict()
        _print(served, served.changes)
        return None
    from balancedit.inputs.images import ANCHORS, open_image

    picture = session.pictures(image, more)
    anchor: Any = negative
    if negative is not None and negative not in ANCHORS:
        anchor = open_image(session.picture_path(negative))
    asked = _over(over, tenant, question)
    editor = session.load_editor(options, session.existing_edits(edits), debug=out.debug)
    with output.working(f"learning to answer '{answer}' …"):
        made = editor.preview(
            picture,
            question,
            answer,
            rephrasings=rephrasings,
            negative=anchor,
            new=new,
            over=asked,
            most=most,
        )
    if radius is not None:
        made = made.at(radius)
    if out.json:
        return shapes.preview(made)
    _print(made, len(made.changed))
    return None


def _over(over: str, tenant: str | None, question: str) -> Any:
    """What the edit is held against. Raises `InputError`, `DataError`, `QueryLogError`."""
    if over == BANK:
        from balancedit.data import pocket

        pictures = dict.fromkeys(probe.image for probe in pocket.probes())
        return [(picture.open(), question) for picture in pictures if picture is not None]
    path = Path(over).expanduser()
    if path.is_dir():
        return path
    from balancedit.serving.querylog import QueryLog

    return QueryLog.read(path).of(tenant)


def _print(made: Preview | Previewed, changes: int) -> None:
    """A preview. changes: how many questions it would change."""
    from balancedit.types import KnownEdit

    console = output.console()
    edit = made.edit
    before, after = edit.answer_before, edit.answer_after or ""
    console.print("not kept: a preview", style="bold")
    console.print(f"  question  {output.printable(edit.question)}")
    console.print(f"  answer    {output.printable(before)} → {output.printable(after)}")
    console.print(f"  radius    {_reach(made)}")
    if edit.retires:
        console.print(f"  replaces  {', '.join(edit.retires)}")
    for warning in edit.warnings:
        output.note("warning", warning)
    if isinstance(edit, KnownEdit):
        return
    most = made.considered
    console.print(f"Of {most} question{'s' * (most != 1)} {changes} would be answered otherwise.")
    if made.undecided:
        console.print(f"Of {made.undecided} more it is not known.")
    if made.changed:
        console.print(change_table(made))


def _reach(made: Preview | Previewed) -> str:
    chosen = output.number(made.radius)
    if made.radius == made.bounds.learned:
        return chosen
    return f"{chosen} (measured: {output.number(made.bounds.learned)})"


def change_table(made: Preview | Previewed) -> Table:
    """What would change, nearest first."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("at", justify="right", no_wrap=True)
    table.add_column("question")
    table.add_column("before → after")
    table.add_column("distance", justify="right", no_wrap=True)
    table.add_column("margin", justify="right", no_wrap=True)
    table.add_column("fired before", no_wrap=True)
    for change in made.changed:
        table.add_row(
            change.query_id or str(change.number + 1),
            output.printable(change.question),
            output.cell(change.before or "?", change.after or "?"),
            output.number(change.distance),
            f"{change.margin:+.0%}" + ("" if change.sure else " ?"),
            change.fired_before or "–",
        )
    return table
