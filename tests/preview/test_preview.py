"""Previews: what they say is what asking says once the edit is committed."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit import Editor, KnownEdit
from balancedit.answering import generate
from balancedit.errors import EditConflictError, InputError
from balancedit.store.terms import AuditEntry, Terms
from contract import A, B, logits_of
from tiny.taught import OTHER, QUESTION, REWORDED, SAYS, STRANGE, WHO

PICTURES = [A, B, tiny.picture(STRANGE), *(tiny.picture(seed) for seed in range(11, 17))]
ASKED = [(image, question) for image in PICTURES for question in (QUESTION, REWORDED, WHO, OTHER)]


@pytest.fixture
def make(make_sure_editor: Any) -> Any:
    """Editors of tiny models that are sure of their answers."""
    return partial(make_sure_editor, key="mean")


@pytest.fixture
def family() -> str:
    return "llava"


def answers(editor: Editor) -> list[tuple[str, str | None]]:
    """What is answered to every question, and by which edit."""
    images, questions = [i for i, _ in ASKED], [q for _, q in ASKED]
    return [(a.text, a.fired) for a in editor.ask(images, questions)]


def previewed(editor: Editor, answer: str = "xyz", image: Any = A, **how: Any) -> Any:
    how = {"rephrasings": [REWORDED], "over": ASKED, "most": len(ASKED)} | how
    return editor.preview(image, QUESTION, answer, **how)


def assert_is_what_happens(editor: Editor, preview: Any) -> None:
    """The preview's changes, and only they, are what changes by committing it."""
    before = answers(editor)
    kept = editor.commit(preview)
    after = answers(editor)
    assert kept.id == preview.edit.id
    changed = {c.number: c for c in preview.changed}
    assert {n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a[1] != b[1]} == {
        *changed
    }
    for number, change in changed.items():
        assert (change.before, change.fired_before) == before[number]
        assert (change.after, change.fired_after) == after[number]
        assert change.question == ASKED[number][1]
    assert preview.undecided == 0
    assert preview.considered == len(ASKED)


@pytest.mark.parametrize("scope", ["answer-aware", "paper"])
@pytest.mark.parametrize("key_type", ["float32", "float16"])
def test_it_is_what_happens_on_commit(make: Any, scope: str, key_type: str) -> None:
    editor = make(scope=scope, key_type=key_type, alpha=0.3)
    preview = previewed(editor)
    assert preview.changed, "what is checked"
    assert preview.edit.answer_after == "xyz"
    assert_is_what_happens(editor, preview)


@pytest.mark.parametrize("scope", ["answer-aware", "paper"])
def test_with_other_edits_nearer_overlapping_and_replaced(make: Any, scope: str) -> None:
    editor = make(scope=scope, alpha=0.1)
    first = editor.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    editor.edit(B, QUESTION, "me", rephrasings=[REWORDED], new=True)
    preview = previewed(editor)
    assert first.id in preview.edit.retires
    assert {c.fired_before for c in preview.changed} & {first.id}, "what is checked"
    assert_is_what_happens(editor, preview)
    editor.revert(preview.edit.id)
    assert editor.get(first.id).state == "active"


def test_an_edit_of_another_scope_decides_by_another_rule(make: Any, tmp_path: Path) -> None:
    by_radius = make(scope="paper", alpha=0.1, edits=tmp_path)
    by_radius.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    by_radius.edit(B, WHO, "me", rephrasings=[OTHER])
    by_radius.close()
    editor = make(scope="answer-aware", alpha=0.1, edits=tmp_path)
    preview = previewed(editor, image=PICTURES[4])
    assert_is_what_happens(editor, preview)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.5])
def test_another_radius_is_what_happens_too(make: Any, share: float) -> None:
    editor = make(alpha=0.3)
    editor.edit(B, QUESTION, "ab", rephrasings=[REWORDED])
    whole = previewed(editor)
    preview = whole.at(share * whole.radius)
    assert preview.edit.id == whole.edit.id
    before = answers(editor)
    kept = preview.commit()
    after = answers(editor)
    assert kept.radius == preview.radius == max(share * whole.radius, whole.bounds.min)
    assert "was measured, and set otherwise" in kept.warnings[-1]
    assert editor.get(kept.id) == kept
    differing = {n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a[1] != b[1]}
    assert differing == {c.number for c in preview.changed}
    assert (A, QUESTION) in [ASKED[n] for n in differing], "its own question, at any radius"
    for change in preview.changed:
        assert change.after in (None, after[change.number][0])
        assert change.inside == (change.distance <= preview.radius)


def test_a_wider_radius_reaches_more_without_the_model(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make(alpha=0.9)
    preview = previewed(editor)
    monkeypatch.setattr(editor.model, "forward", None)
    numbers = [
        {c.number for c in preview.at(share * preview.bounds.max).changed}
        for share in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert all(a <= b for a, b in pairwise(numbers))
    assert len(numbers[0]) < len(numbers[-1]), "what is checked"
    from_elsewhere: list[Any] = []
    thread = threading.Thread(target=lambda: from_elsewhere.append(preview.at(preview.radius)))
    thread.start()
    thread.join()
    assert from_elsewhere == [preview]


def test_nothing_is_in_force_and_nothing_stored(make: Any, tmp_path: Path) -> None:
    editor = make(alpha=0.3, edits=tmp_path)
    first = editor.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    rows = ([A, B, A], [QUESTION, QUESTION, WHO])
    with editor:
        before = logits_of(editor, *rows)
    said, files = answers(editor), sorted(p.name for p in tmp_path.rglob("*") if p.suffix != "")
    preview = previewed(editor)
    assert first.id in preview.edit.retires
    with editor:
        assert logits_of(editor, *rows).equal(before)
    assert answers(editor) == said
    assert [e.id for e in editor.edits(states=("active", "retired", "reverted"))] == [first.id]
    assert sorted(p.name for p in tmp_path.rglob("*") if p.suffix != "") == files
    assert editor._method.active() == (first.id,)


def test_the_record_is_the_one_that_editing_makes(make: Any) -> None:
    editor, other = make(alpha=0.3), make(alpha=0.3)
    kept = editor.commit(previewed(editor))
    edited = other.edit(A, QUESTION, "xyz", rephrasings=[REWORDED])
    own = {"id": "", "created": "", "seconds": 0.0, "loss": 0.0}
    assert replace(kept, **own) == replace(edited, **own)
    assert answers(editor) == [(text, kept.id if fired else None) for text, fired in answers(other)]


def test_a_change_is_as_sure_as_it_is_far_from_the_radius(make: Any) -> None:
    editor = make(alpha=0.3)
    preview = previewed(editor)
    own = next(c for c in preview.changed if ASKED[c.number] == (A, QUESTION))
    assert own.inside
    assert own.sure
    assert own.margin == pytest.approx(1, abs=1e-3)
    farthest = preview.changed[-1]
    edge = preview.at(farthest.distance)
    (at_the_edge,) = [c for c in edge.changed if c.number == farthest.number]
    assert at_the_edge.inside
    assert not at_the_edge.sure
    assert at_the_edge.margin == 0


def test_what_is_taught_already_changes_nothing(make: Any) -> None:
    editor = make(alpha=0.3)
    edit = editor.edit(A, QUESTION, "xyz", rephrasings=[REWORDED])
    preview = previewed(editor)
    assert isinstance(preview.edit, KnownEdit)
    assert (preview.edit.id, preview.changed) == (edit.id, ())
    assert preview.commit().id == edit.id
    editor.revert(edit.id)
    with pytest.raises(EditConflictError, match="in force no longer"):
        preview.commit()


# -- committing later ------------------------------------------------------------------------


def test_edits_elsewhere_do_not_matter(make: Any) -> None:
    editor = make(alpha=0.9)
    preview = previewed(editor)
    editor.edit(tiny.picture(STRANGE), WHO, "ab", rephrasings=[OTHER])
    assert_is_what_happens(editor, replace(preview, undecided=0))


@pytest.mark.parametrize("moved", ["same fact", "reverted", "covers"])
def test_it_is_refused_where_the_edits_moved(make: Any, moved: str) -> None:
    editor = make(alpha=0.1)
    first = editor.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    preview = previewed(editor, image=A if moved != "covers" else B)
    if moved == "same fact":
        editor.edit(A, QUESTION, "me", rephrasings=[REWORDED])
    elif moved == "reverted":
        editor.revert(first.id)
    else:
        editor.edit(PICTURES[5], QUESTION, "me", rephrasings=[REWORDED])
    said, held = answers(editor), editor._method.active()
    with pytest.raises(EditConflictError, match="preview the fact again"):
        preview.commit()
    assert answers(editor) == said
    assert editor._method.active() == held
    assert preview.edit.id not in {e.id for e in editor.edits(states=("active", "retired"))}


def test_it_is_committed_once(make: Any) -> None:
    editor = make(alpha=0.3)
    preview = previewed(editor)
    edit = preview.commit()
    with pytest.raises(
        EditConflictError, match=f"it was committed already, as edit {edit.id}; preview"
    ):
        preview.commit()
    assert [e.id for e in editor.edits()] == [edit.id]


def test_another_editors_preview_is_refused(make: Any) -> None:
    editor, other = make(alpha=0.3), make(alpha=0.3)
    with pytest.raises(InputError, match="another editor made this preview"):
        other.commit(previewed(editor))
    assert other.edits() == []


def test_it_is_committed_on_terms(make: Any) -> None:
    editor = make(alpha=0.3)
    preview = previewed(editor)
    entry = AuditEntry("k1", "default", "as previewed")
    with pytest.raises(EditConflictError, match="not at 7 as expected"):
        editor.commit(preview, terms=Terms(expect=7, audit=entry))
    assert editor.edits() == []
    edit = editor.commit(preview, terms=Terms(expect=preview.version, audit=entry))
    (line,) = editor.store.audit(5)
    assert (line.action, line.edit, line.detail) == ("edit", edit.id, "as previewed")
    again = previewed(editor)
    assert editor.commit(again, terms=Terms(audit=entry)).id == edit.id
    assert [one.action for one in editor.store.audit(5)] == ["known", "edit"]


@pytest.mark.parametrize("elsewhere", [True, False])
def test_others_may_be_quicker(make: Any, tmp_path: Path, elsewhere: bool) -> None:
    """Somebody else commits between the last look and ours: looked at again."""
    editor, other = make(alpha=0.9, edits=tmp_path), make(alpha=0.9, edits=tmp_path)
    preview = previewed(editor)
    check, said = editor._check_unmoved, []

    def late(*given: Any) -> None:
        check(*given)
        if not said:
            where = (tiny.picture(STRANGE), WHO, "ab") if elsewhere else (A, QUESTION, "me")
            said.append(other.edit(*where, rephrasings=[OTHER if elsewhere else REWORDED]))

    editor._check_unmoved = late
    if elsewhere:
        assert preview.commit().id == preview.edit.id
    else:
        with pytest.raises(EditConflictError):
            preview.commit()
    ids = {said[0].id, *([preview.edit.id] if elsewhere else [])}
    assert {e.id for e in editor.edits()} == ids == {*editor._method.active()}


def test_a_store_that_fails_leaves_nothing_in_force(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make(alpha=0.3)
    preview, said = previewed(editor), answers(editor)
    with monkeypatch.context() as patch:
        patch.setattr(editor._store, "commit", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            preview.commit()
    assert answers(editor) == said
    assert_is_what_happens(editor, preview)


# -- what it is made over --------------------------------------------------------------------


def test_a_folder_is_asked_the_edits_own_question(make: Any, tmp_path: Path) -> None:
    for number, picture in enumerate(PICTURES):
        picture.save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    editor = make(alpha=0.3)
    preview = previewed(editor, over=tmp_path)
    assert preview.considered == len(PICTURES)
    same = previewed(editor, over=[(picture, QUESTION) for picture in PICTURES])
    seen = [[(c.number, c.before, c.after) for c in p.changed] for p in (preview, same)]
    assert seen[0] == seen[1]
    assert preview.changed


def test_over_nothing_it_is_the_edit_alone(make: Any) -> None:
    editor = make(alpha=0.3)
    preview = previewed(editor, over=())
    assert (preview.considered, preview.changed) == (0, ())
    assert preview.commit().answer_after == "xyz"


@pytest.mark.parametrize("over", [3, [(A,)], "no/such/folder"])
def test_what_it_cannot_be_made_over_is_said(make: Any, over: Any) -> None:
    with pytest.raises(InputError):
        previewed(make(), over=over)


def test_a_method_without_a_radius_has_no_preview() -> None:
    editor = Editor.on(tiny.load("llava"), method="ft")
    with pytest.raises(InputError, match="use method='balancedit'"):
        editor.preview(A, QUESTION, "xyz")


def test_only_the_nearest_changes_are_answered(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = make(alpha=0.3)
    preview = previewed(editor, most=2)
    assert len(preview.changed) > 2, "what is checked"
    assert [c.after for c in preview.changed[:2]] == ["xyz"] * 2
    assert {c.after for c in preview.changed[2:]} == {None}


@pytest.mark.parametrize("radius", [-1.0, float("nan"), float("inf"), 1e9])
def test_a_radius_beyond_what_was_looked_at_is_refused(make: Any, radius: float) -> None:
    preview = previewed(make(alpha=0.3))
    with pytest.raises(InputError, match="lies outside what was looked at"):
        preview.at(radius)


# -- the key and the untouched answer, handed out ----------------------------------------------


def test_an_answer_brings_its_key_and_what_the_untouched_model_says(make: Any) -> None:
    editor = make(alpha=0.1)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=[REWORDED])
    rows = [(A, QUESTION), (B, WHO)]
    with editor._holding.working():
        made = generate.generate_answers(editor._loaded, editor._method, rows)
        keys = editor._method.routing.prefill_keys(*zip(*rows, strict=True))
    assert [m.decision.fired for m in made] == [edit.id, None]
    for one, key in zip(made, keys, strict=True):
        assert one.key.allclose(key, atol=1e-4)
    assert made[0].decision.given == edit.old_tokens[0]
    assert made[1].text == SAYS[WHO]
