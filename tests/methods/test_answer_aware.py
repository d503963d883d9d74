"""The answer-aware scope: an edit fires where the untouched model would give the old answer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from balancedit import Editor
from balancedit.codebook import Match
from balancedit.decisions import Claim, Decision
from balancedit.errors import InputError
from balancedit.methods import balancedit
from balancedit.methods.answer_aware import by_claims, old_answer
from balancedit.methods.routed import Prompt
from closeness import assert_near
from contract import (
    FAR,
    OTHER,
    QUESTION,
    REWORDED,
    A,
    B,
    assert_a_batch_equals_its_singles,
    assert_beam_search_keeps_each_row_its_edit,
    assert_cached_decoding_equals_uncached,
    assert_changes_only_inside,
    assert_padding_may_stand_on_either_side,
    assert_saved_edits_give_the_same,
    assert_the_target_never_routes,
    given_back,
    inputs_of,
    two_edits,
)


def test_the_old_answer_is_what_the_model_says_in_any_words() -> None:
    assert old_answer(["hp", "HP.", "hp"]) == ("hp", ())
    assert old_answer([" ", "hp"])[0] is None
    old, (warning,) = old_answer(["hp", "dell"])
    assert old is None
    assert warning.startswith("the untouched model answers 'hp', and 'dell' when")


class Held:
    """A record as far as a decision looks at it."""

    def __init__(self, old: str | None) -> None:
        self.old_answer = old


def decide(*entries: tuple[str, float, str | None]) -> Decision:
    """The decision on a row at these distances, all inside a radius of 1, from entries with these
    old answers."""
    matches = [Match(name, far, 1.0) for name, far, _ in entries]
    edits: Any = {name: Held(old) for name, _, old in entries}
    nearest = matches[0] if matches else None
    (made,) = by_claims([nearest], [matches], edits)
    return made


def test_the_nearest_entry_fires_whose_old_answer_is_given() -> None:
    row = decide(("a", 0.1, "hp"), ("b", 0.2, "dell"), ("c", 0.3, "hp"))
    assert [c.answer for c in row.claims] == ["hp", "dell", "hp"]
    assert row.settled("hp").fired == "a"
    assert row.settled("dell") == Decision("b", "a", 0.1, 1.0)
    assert row.settled("asus") == Decision(None, "a", 0.1, 1.0)


def test_an_entry_without_an_old_answer_goes_by_its_radius() -> None:
    assert decide(("a", 0.1, None), ("b", 0.2, "hp")) == Decision("a", "a", 0.1, 1.0)
    row = decide(("a", 0.1, "hp"), ("b", 0.2, None), ("c", 0.3, "dell"))
    assert row.claims == (Claim("hp", Decision("a", "a", 0.1, 1.0)),)
    assert row.settled("dell").fired == "b"
    assert decide() == Decision()


# -- on models -------------------------------------------------------------------------------


#: Wide radii: most of what is asked lies inside.
WIDE = {"scope": "answer-aware", "alpha": 0.05}


@pytest.fixture
def make(make_editor: Any) -> Any:
    return partial(make_editor, scope="answer-aware")


@pytest.fixture
def sure(make_editor: Any, family: str) -> Any:
    """Editors of the tiny BLIP-2, which says the same to most questions; the tiny LLaVA says
    something else to every wording."""
    if family != "blip2":
        pytest.skip("a model that is sure of its answers is needed")
    return make_editor


def said(editor: Editor, image: Any, question: str) -> str:
    """What the untouched model says."""
    with editor._method.bypass():
        return editor.ask(image, question).text


def test_it_fires_only_where_the_old_answer_is_given(sure: Any) -> None:
    editor = sure(**WIDE)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert edit.old_answer == said(editor, A, QUESTION)
    asked = [(i, q) for i in (A, B, FAR) for q in (QUESTION, *REWORDED, "who?", OTHER)]
    answers = editor.ask([i for i, _ in asked], [q for _, q in asked])
    seen = set()
    for (image, question), answer in zip(asked, answers, strict=True):
        old = said(editor, image, question)
        inside, fires = answer.distance <= answer.radius, answer.fired is not None
        assert fires == (inside and old == edit.old_answer)
        assert answer.text == old or fires
        seen.add((inside, fires))
    assert {(True, True), (True, False)} <= seen
    assert "not the fact's old answer" in editor.explain(A, "who?").reason
    assert "fires" in editor.explain(A, QUESTION).reason


def test_a_fact_the_model_is_unsure_of_keeps_its_radius(make_editor: Any, family: str) -> None:
    if family != "llava":
        pytest.skip("a model that says something else to every wording is needed")
    editor = make_editor(**WIDE)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert edit.old_answer is None
    (warning,) = [w for w in edit.warnings if "radius alone decides" in w]
    assert f"'{said(editor, A, QUESTION)}', and '{said(editor, A, REWORDED[0])}'" in warning
    assert editor.ask(A, REWORDED[0]).fired == edit.id


def test_only_rewordings_answered_otherwise_are_asked(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    real = balancedit.untouched
    monkeypatch.setattr(
        balancedit, "untouched", lambda *a: asked.append([q for _, q in a[2]]) or real(*a)
    )
    editor = make_editor(**WIDE)
    editor.edit(A, QUESTION, "ab", rephrasings=REWORDED[:1])
    assert asked == [[REWORDED[0]]], "the answers of random weights do not end"
    asked.clear()
    monkeypatch.setattr(balancedit, "_IN_PASSING", 99)
    monkeypatch.setattr(editor._method, "_read", answered_alike(editor._method._read))
    assert editor.edit(B, QUESTION, "ab", rephrasings=REWORDED[:1]).old_answer == said(
        editor, B, QUESTION
    )
    assert asked == [[]]


def answered_alike(read: Any) -> Any:
    """Readings in which the model gives everything that is expected of it."""
    return lambda prompts: read(prompts)._replace(gives=[bool(p.expected) for p in prompts])


@pytest.mark.kernels
def test_what_the_model_says_of_itself_is_seen_in_passing(make: Any) -> None:
    editor = make()
    inputs = inputs_of(editor, [A], [QUESTION])
    with torch.no_grad():
        out = editor.model.generate(**inputs, do_sample=False, max_new_tokens=3)
    own = out[0, -3:].tolist()
    other = [*own[:2], (own[2] + 1) % 50]
    with editor:
        read = editor._method._read(
            [
                Prompt(A, QUESTION, learned=[5, 6, 7, 8, 9]),
                Prompt(A, QUESTION, expected=own),
                Prompt(A, QUESTION, expected=other),
                Prompt(A, QUESTION),
            ]
        )
        alone = editor._method._read([Prompt(A, QUESTION, learned=[5, 6, 7, 8, 9])])
    assert read.gives == [False, True, False, False]
    assert len(read.states.x) == 1
    assert_near(read.states.x[0], alone.states.x[0])


def test_a_new_fact_goes_by_its_radius(sure: Any) -> None:
    editor = sure(**WIDE)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED, new=True)
    assert (edit.old_answer, edit.warnings) == (None, ())
    assert editor.ask(A, "who?").fired == edit.id


def test_the_old_answer_is_the_untouched_models(sure: Any) -> None:
    """Not what an edit in force says: the same fact again follows the conflict rule."""
    editor = sure(scope="answer-aware")
    first = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    second = editor.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
    assert second.answer_before == "ab"
    assert (second.old_answer, second.retires) == (first.old_answer, (first.id,))
    assert editor.ask(A, QUESTION).text == "xyz"
    editor.revert(second.id)
    assert editor.ask(A, QUESTION).text == "ab"


@pytest.mark.kernels
def test_the_contract_holds(make: Any, tmp_path: Path) -> None:
    editor = make()
    with given_back(editor) as base:
        edits = two_edits(editor)
        assert_changes_only_inside(editor, base)
        assert_a_batch_equals_its_singles(editor, edits)
        assert_padding_may_stand_on_either_side(editor, edits)
        for beams in (1, 3):
            assert_cached_decoding_equals_uncached(editor, edits, beams)
        assert_beam_search_keeps_each_row_its_edit(editor)
        for how in ("prompt_lengths", "labels"):
            assert_the_target_never_routes(editor, how)
        assert_saved_edits_give_the_same(editor, make, tmp_path / "edits")
        for edit in edits:
            editor.revert(edit)


@pytest.mark.kernels
def test_the_raw_model_decides_as_ask_does(sure: Any) -> None:
    editor = sure(**WIDE)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    asked = ([A, A, B, A], [QUESTION, "who?", QUESTION, OTHER])
    expected = [a.fired for a in editor.ask(*asked)]
    inputs = inputs_of(editor, *asked)
    with torch.no_grad(), editor, editor._method.tracing() as trace:
        editor.model.generate(**inputs, do_sample=False, max_new_tokens=3)
        editor.model(**inputs)
        cached = editor.model(**inputs, use_cache=True)
    assert [d.fired for d in trace.rows] == expected * 3
    assert {edit.id, None} == set(expected)
    with torch.no_grad(), editor:
        plain = editor.model(**inputs).logits
    assert_near(cached.logits, plain)
    assert not any(d.claims for d in trace.rows)


def test_a_cache_that_was_given_is_the_edited_models(sure: Any) -> None:
    """Where a forward pass is run twice, the caller's cache holds the second run alone."""
    from transformers import DynamicCache

    editor = sure(scope="answer-aware")
    editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    inputs = inputs_of(editor, [A], [QUESTION])
    n = inputs["input_ids"].shape[1]
    cache = DynamicCache(config=editor.model.config.get_text_config())
    with torch.no_grad(), editor:
        logits = editor.model(**inputs, past_key_values=cache, use_cache=True).logits
        assert cache.get_seq_length() == n
        token = logits[:, -1:].argmax(-1)
        mask = torch.cat([inputs["attention_mask"], torch.ones_like(token)], 1)
        step = editor.model.language_model(
            input_ids=token, attention_mask=mask, past_key_values=cache
        ).logits
        longer = editor.model.generate(**inputs, do_sample=False, max_new_tokens=2)
    assert longer[0, -2:].tolist() == [int(token), int(step[0, -1].argmax())]


def test_teacher_forcing_decides_as_ask_does(sure: Any) -> None:
    editor = sure(scope="answer-aware")
    editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    (forced,) = editor.force([A], [QUESTION], ["ab"])
    assert [top[0] for top in forced.top] == list(forced.ids)


def test_what_fires_is_generated_twice_and_nothing_else(sure: Any) -> None:
    editor = sure(scope="answer-aware")
    editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    runs: list[bool] = []  # of the edited layer: whether with a whole prompt
    layer = editor.model.get_submodule(editor.layer)
    handle = layer.register_forward_pre_hook(lambda _, args: runs.append(len(args[0]) > 1))
    for image, question, prompts in ((FAR, OTHER, 1), (A, QUESTION, 2)):
        runs.clear()
        editor.ask(image, question)
        assert sum(runs) == prompts
    handle.remove()


def test_a_wrong_scope_is_refused() -> None:
    with pytest.raises(InputError, match="unknown scope 'answer-awrae'; nearest: answer-aware"):
        Editor.load("pocket", scope="answer-awrae")


def test_an_edit_keeps_its_scope_whatever_the_editors(sure: Any, tmp_path: Path) -> None:
    editor = sure(**WIDE, edits=tmp_path)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    other: Editor = sure(edits=tmp_path)
    assert other.list() == [edit]
    asked = ([A, A, A], [QUESTION, "who?", OTHER])
    fired = [[x.fired for x in e.ask(*asked)] for e in (editor, other)]
    assert fired == [[edit.id, None, None]] * 2


def test_what_the_untouched_model_said_is_not_generated_again(sure: Any) -> None:
    editor = sure(scope="answer-aware")
    editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    steps: list[int] = []
    layer = editor.model.get_submodule(editor.layer)
    handle = layer.register_forward_pre_hook(lambda *_: steps.append(1))
    with editor.remembering():
        first = editor.ask([A, FAR], [QUESTION, OTHER])
        n = len(steps)
        assert editor.ask([A, FAR], [QUESTION, OTHER]) == first
        assert len(steps) - n == n - 32, "only the edit that fires is generated again"
    handle.remove()
