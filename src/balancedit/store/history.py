"""How edits replace one another and come back: pure rules over records, no storage, no tensors.

Both stores (in memory and on disk) apply these rules, the one on disk inside a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from balancedit.errors import EditNotFoundError, nearest_names
from balancedit.inputs.answers import ask_the_same, same_answer, same_question
from balancedit.types import Edit

_COMPARED = 1000  # ids that a mistyped one is compared with; beyond, those that begin alike


def resolve(edits: Iterable[str], wanted: str) -> str:
    """The one id among `edits` that equals `wanted` or, failing that, begins with it.

    Raises `EditNotFoundError` when there is none, or several.
    """
    ids = list(edits)
    if wanted in ids:
        return wanted
    matches = [i for i in ids if wanted and i.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise EditNotFoundError(
            f"edit id '{wanted}' is short for several edits: {', '.join(matches)}; give more of it"
        )
    alike = ids if len(ids) <= _COMPARED else [i for i in ids if i[:2] == wanted[:2]]
    hint = nearest_names(wanted, alike) if ids else "; no edit is held"
    raise EditNotFoundError(f"no edit with id '{wanted}'{hint} (`balancedit list` shows them)")


def same_fact(old: Edit, new: Edit) -> bool:
    """Whether a new edit is about the fact that an older one is about, as far as records say: the
    same is asked about the same picture. With the same answer, only to the very same question:
    edits of two wordings reach what is near each."""
    if old.image_sha256 != new.image_sha256:
        return False
    if same_answer(old.target, new.target):
        return same_question(old.question, new.question)
    return ask_the_same((old.question, *old.positives), (new.question, *new.positives))


def after_commit(edits: Mapping[str, Edit], new: Edit) -> list[Edit]:
    """Records that change when `new` is committed: itself, and those it retires.

    An edit that `new` meant to retire but that is no longer active (another process reverted it
    meanwhile) is left alone and dropped from `new.retires`.
    """
    replaced = [edits[i] for i in new.retires if i in edits and edits[i].state == "active"]
    new = replace(new, retires=tuple(e.id for e in replaced))
    return [new, *(replace(e, state="retired", retired_by=new.id) for e in replaced)]


def after_revert(edits: Mapping[str, Edit], edit_id: str) -> list[Edit]:
    """Records that change when `edit_id` is reverted: itself, and those it had retired.

    Those come back, unless the edit was itself retired by a later one that still stands: then they
    wait for that one. Raises `EditNotFoundError` when it was reverted before.
    """
    edit = edits[edit_id]
    if edit.state == "reverted":
        raise EditNotFoundError(f"edit '{edit_id}' is already reverted; nothing to undo")
    waiting = [e for e in edits.values() if e.state == "retired" and e.retired_by == edit_id]
    if edit.state == "retired":
        freed = [replace(e, retired_by=edit.retired_by) for e in waiting]
    else:
        freed = [replace(e, state="active", retired_by=None) for e in waiting]
    return [replace(edit, state="reverted", retired_by=None), *freed]
