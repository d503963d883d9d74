"""`balancedit show`: everything that is known about one edit, without loading a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from balancedit import shapes
from balancedit.cli import output, remote
from balancedit.cli.options import (
    DEFAULT_EDITS,
    EditsOption,
    IdArgument,
    OutputOptions,
    ServerOptions,
    with_options,
)

if TYPE_CHECKING:
    from balancedit.types import Edit


@with_options
def show(
    edit_id: IdArgument, out: OutputOptions, at: ServerOptions, edits: EditsOption = DEFAULT_EDITS
) -> dict[str, Any] | None:
    """Show one edit in full."""
    from balancedit.cli import session

    there = remote.client(at, edits)
    if there is not None:
        edit, model = there.one_edit(edit_id), there.model()
        if out.json:
            return shapes.edit(edit) | {"damaged": None, "store": {"model": model}}
        _print(edit, model, {})
        return None
    with session.open_store(edits) as store:
        edit_id = store.resolve(edit_id)
        edit = store.records([edit_id])[edit_id]
        damaged = store.damaged([edit.id])
        binding = store.binding
    reason = damaged[0].reason if damaged else None
    if out.json:
        return shapes.edit_in_store(edit, reason, binding)
    _print(edit, binding.model, binding.details)
    if reason:
        output.note("warning", f"edit {edit.id} is left out: {reason}")
    return None


def _print(edit: Edit, model: str, details: Mapping[str, str]) -> None:
    """An edit's record. details: of the store's binding, as far as they are known."""
    from rich.table import Table

    state = f"{edit.state} (by {edit.retired_by})" if edit.retired_by else edit.state
    source = {"given": "given", "model": "the model's words", "rules": "by rule", "none": ""}
    measured: list[tuple[str, str]] = [
        ("rephrased", f"distance {output.number(edit.d_positive)}"),
        *((f"  {source[edit.positives_source]}", text) for text in edit.positives),
        ("negative", f"{edit.negative} picture, distance {output.number(edit.d_negative)}"),
    ]
    old = [("  fires", f"inside it, where the untouched model says '{edit.old_answer}'")]
    key = details.get("key")
    rows: list[tuple[str, str]] = [
        ("edit", edit.id),
        ("state", state),
        ("question", edit.question),
        ("new answer", edit.target),
        ("before", edit.answer_before),
        ("after", edit.answer_after or "–"),
        ("radius", output.number(edit.radius)),
        *(old if edit.old_answer is not None else ()),
        *(measured if edit.positives else ()),
        ("overlaps", edit.overlaps or "–"),
        ("retires", ", ".join(edit.retires) or "–"),
        ("method", f"{edit.method}, {key} key" if key else edit.method),
        ("model", model),
        ("layer", details.get("layer", "?")),
        ("learned", f"{edit.created} ({output.age(edit.created)}), in {edit.seconds:.1f} s"),
        ("training", f"{edit.steps} steps, final loss {output.number(edit.loss)}"),
        ("picture", f"sha256 {edit.image_sha256}"),
        *(("warning", text) for text in edit.warnings),
    ]
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, output.printable(text), style="yellow" if name == "warning" else None)
    output.console().print(table)
