"""`balancedit edit-many`: teach the model the facts of a file, together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from balancedit import shapes
from balancedit.cli import output
from balancedit.cli.options import (
    DEFAULT_EDITS,
    EditsOption,
    ModelOptions,
    OutputOptions,
    with_options,
)
from balancedit.files.names import expanded

if TYPE_CHECKING:
    from balancedit.types import Edit, Fact, FailedEdit

_FIELDS = ("image", "question", "answer", "rephrasings", "negative", "new")


@with_options
def edit_many(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="JSON Lines, a fact a line: image, question, answer and, if wanted, rephrasings, "
            "negative and new. Pictures are named relative to the file.",
        ),
    ],
    options: ModelOptions,
    out: OutputOptions,
    edits: EditsOption = DEFAULT_EDITS,
) -> dict[str, Any] | int:
    """Teach the model many new answers at once."""
    from balancedit.cli import session

    facts = read_facts(file)
    editor = session.load_editor(options, edits, debug=out.debug)
    with output.progress("learning") as bar:
        bar.total(len(facts))
        settled = editor.edit_many(facts, progress=lambda outcome: bar.advance("learning"))
    tally = _Tally.of(settled)
    for failure in tally.failed:
        output.note("warning", f"fact {failure.number + 1} was not learned: {failure.error}")
    if out.json:
        return shapes.taught(tally.edits, tally.known, tally.failed)
    _print(tally, edits)
    return 1 if tally.failed else 0


@dataclass(frozen=True)
class _Tally:
    """What came of the facts."""

    edits: list[Edit]
    failed: list[FailedEdit]

    @property
    def known(self) -> list[Edit]:
        """The edits that were there already, each once."""
        from balancedit.types import KnownEdit

        return list({e.id: e for e in self.edits if isinstance(e, KnownEdit)}.values())

    @property
    def learned(self) -> list[Edit]:
        """The edits that are new."""
        from balancedit.types import KnownEdit

        return [e for e in self.edits if not isinstance(e, KnownEdit)]

    @classmethod
    def of(cls, settled: list[Edit | FailedEdit]) -> _Tally:
        from balancedit.types import Edit, FailedEdit

        return cls(
            [outcome for outcome in settled if isinstance(outcome, Edit)],
            [outcome for outcome in settled if isinstance(outcome, FailedEdit)],
        )


def read_facts(file: Path) -> list[Fact]:
    """The facts of a JSON Lines file; pictures are not looked at. Raises `InputError`, naming the
    line, where one is no fact."""
    from balancedit.errors import InputError
    from balancedit.files.lines import NotTextError, read_lines

    file = expanded(file)
    try:
        lines, _ = read_lines(file, pipes=True)
    except FileNotFoundError as error:
        raise InputError(f"there is no file '{file}'; check the path") from error
    except OSError as error:
        raise InputError(f"'{file}' cannot be read ({error.strerror or error})") from error
    except NotTextError as error:
        raise InputError(f"'{file}' {error}") from error
    facts = []
    for line in lines:
        where = f"line {line.number} of '{file}'"
        if line.wrong is not None:
            raise InputError(f"{where} {line.wrong}; write one object a line")
        facts.append(_fact(line.value, where, file.parent))
    if not facts:
        raise InputError(f"'{file}' holds no fact; write one JSON object a line")
    return facts


def _fact(fields: Any, where: str, folder: Path) -> Fact:
    from balancedit.cli import session
    from balancedit.errors import InputError, nearest_names
    from balancedit.inputs.images import ANCHORS
    from balancedit.types import Fact

    if not isinstance(fields, dict):
        raise InputError(f"{where} is no JSON object; write image, question and answer")
    for name in fields:
        if name not in _FIELDS:
            raise InputError(f"{where} has a field '{name}'{nearest_names(name, _FIELDS)}")
    for name in ("image", "question", "answer"):
        if not isinstance(fields.get(name), str):
            raise InputError(f"{where} has no text '{name}'; every fact needs one")
    rephrasings = fields.get("rephrasings", [])
    if not isinstance(rephrasings, list) or not all(isinstance(r, str) for r in rephrasings):
        raise InputError(f"{where} has 'rephrasings' that are no list of texts")
    negative = fields.get("negative")
    if negative is not None and not isinstance(negative, str):
        raise InputError(f"{where} has a 'negative' that is no text; name a picture")
    new = fields.get("new", False)
    if not isinstance(new, bool):
        raise InputError(f"{where} has a 'new' that is neither true nor false")

    def picture(name: str) -> Path | str:
        path = session.picture_path(name)
        beside = isinstance(path, Path) and not name.startswith(session.DEMO)
        return folder / path if beside else path

    fact = Fact(
        picture(fields["image"]),
        fields["question"],
        fields["answer"],
        tuple(rephrasings),
        new=new,
    )
    if negative is None:
        return fact
    return replace(fact, negative=negative if negative in ANCHORS else picture(negative))


def _print(tally: _Tally, edits: str) -> None:
    from rich.table import Table

    console = output.console()
    table = Table("edit", "question", "before → after", "note", box=None, padding=(0, 2, 0, 0))
    for record in tally.learned:
        table.add_row(
            record.id,
            output.cell(record.question),
            output.cell(record.answer_before, record.answer_after or ""),
            output.cell(_note(record)),
        )
    if tally.learned:
        console.print(table)
    there = f", {len(tally.known)} were there already" if tally.known else ""
    console.print(f"{len(tally.learned)} edits kept in {edits}{there}.", style="dim")


def _note(record: Edit) -> str:
    """What is to be known of an edit beside its answer: what it replaces before all."""
    notes = [f"replaces {', '.join(record.retires)}"] if record.retires else []
    notes += record.warnings
    if not notes and record.overlaps:
        notes = [f"overlaps {record.overlaps}"]
    return "; ".join(notes)
