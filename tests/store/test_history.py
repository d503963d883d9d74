from __future__ import annotations

from dataclasses import replace

import pytest

from balancedit.errors import EditNotFoundError
from balancedit.store.history import after_commit, after_revert, resolve
from balancedit.types import Edit


def edit(edit_id: str, **changes: object) -> Edit:
    base = Edit(
        id=edit_id,
        question="q",
        target=edit_id,
        answer_before="b",
        answer_after="a",
        radius=1.0,
        d_positive=0.5,
        d_negative=1.5,
        positives=("p",),
        positives_source="given",
        negative="black",
        image_sha256="0" * 64,
        created="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        steps=1,
        loss=0.1,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def apply(held: dict[str, Edit], changed: list[Edit]) -> dict[str, Edit]:
    return held | {e.id: e for e in changed}


def states(held: dict[str, Edit]) -> dict[str, str]:
    return {i: e.state for i, e in held.items()}


def chain() -> dict[str, Edit]:
    held: dict[str, Edit] = {}
    held = apply(held, after_commit(held, edit("a")))
    held = apply(held, after_commit(held, edit("b", retires=("a",))))
    return apply(held, after_commit(held, edit("c", retires=("b",))))


def test_a_chain_unwinds_in_order() -> None:
    held = chain()
    assert states(held) == {"a": "retired", "b": "retired", "c": "active"}
    held = apply(held, after_revert(held, "c"))
    assert states(held) == {"a": "retired", "b": "active", "c": "reverted"}
    held = apply(held, after_revert(held, "b"))
    assert states(held) == {"a": "active", "b": "reverted", "c": "reverted"}


def test_reverting_the_middle_waits_for_the_last() -> None:
    held = chain()
    held = apply(held, after_revert(held, "b"))
    assert states(held) == {"a": "retired", "b": "reverted", "c": "active"}
    held = apply(held, after_revert(held, "c"))
    assert states(held) == {"a": "active", "b": "reverted", "c": "reverted"}


def test_what_somebody_else_reverted_is_not_retired() -> None:
    held = {"a": edit("a", state="reverted")}
    changed = after_commit(held, edit("b", retires=("a", "gone")))
    assert [e.id for e in changed] == ["b"]
    assert changed[0].retires == ()


def test_reverting_twice_is_an_error() -> None:
    held = apply(chain(), after_revert(chain(), "c"))
    with pytest.raises(EditNotFoundError, match="already reverted"):
        after_revert(held, "c")


def test_ids_resolve_by_their_beginning() -> None:
    assert resolve(["abcd", "abxy"], "abc") == "abcd"
    assert resolve(["ab", "abcd"], "ab") == "ab"
    with pytest.raises(EditNotFoundError, match="several"):
        resolve(["abcd", "abxy"], "ab")
    with pytest.raises(EditNotFoundError, match="no edit with id 'q'"):
        resolve(["abcd"], "q")
    with pytest.raises(EditNotFoundError, match="no edit is held"):
        resolve([], "")
