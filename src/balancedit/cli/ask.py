"""`balancedit ask`: a question about a picture, answered with the edits in force."""

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
    from balancedit.types import Answer


@with_options
def ask(
    image: OptionalImageArgument,
    question: QuestionArgument,
    options: ModelOptions,
    out: OutputOptions,
    at: ServerOptions,
    more: MoreImagesOption = None,
    max_new_tokens: LengthOption = None,
    edits: EditsOption = DEFAULT_EDITS,
) -> dict[str, Any] | None:
    """Ask about a picture."""
    from balancedit.cli import session
    from balancedit.inputs.text import check_question

    there = remote.client(at, edits, options)
    if there is not None:
        question = check_question(question)
        answer = there.ask(remote.optional_pictures(image, more), question, max_new_tokens)
    else:
        picture = session.optional_pictures(image, more)
        question = check_question(question)  # before the model loads, which takes seconds
        editor = session.load_editor(options, session.existing_edits(edits), debug=out.debug)
        known = editor.damaged
        answer = editor.ask(picture, question, max_new_tokens=max_new_tokens)
        session.warn_of_damage(editor, known)
    if out.json:
        return shapes.asked(question, answer)
    console = output.console()
    console.print(output.printable(answer.text) or "(the model answers with nothing)", style="bold")
    if answer.cut:
        console.print("(cut: the model goes on; --max-new-tokens gives more)", style="dim")
    console.print(why(answer), style="dim")
    return None


def why(answer: Answer) -> str:
    """The routing decision in a line."""
    if answer.nearest is None:
        return "no edit is held; the model's own answer"
    if answer.distance is None:
        return f"edit {answer.fired} fires, as the newest does for every prompt"
    if answer.radius is None:
        distance = output.number(answer.distance)
        return f"edit {answer.fired} fires, as the nearest does (distance {distance}, no radius)"
    where = f"distance {output.number(answer.distance)}, radius {output.number(answer.radius)}"
    if answer.fired is None:
        return f"no edit fires; the model's own answer (nearest: {answer.nearest}, {where})"
    if answer.fired == answer.nearest:
        return f"edit {answer.fired} fires ({where})"
    return f"edit {answer.fired} fires (nearest: {answer.nearest}, {where})"
