"""The answer-aware scope: an edit fires where the untouched model would give the old answer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit import Editor
from balancedit.codebook.codebook import Match
from balancedit.errors import InputError
from balancedit.layer.decisions import AnswerIds, Claim, Decision, Said
from balancedit.methods.balancedit import measuring
from balancedit.methods.routed import Prompt
from balancedit.scope.firing import by_claims, old_answer
from closeness import assert_near
from contract import (
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
    widened,
)
from tiny.taught import SAYS, STRANGE, WHO


def test_the_old_answer_is_what_the_model_says_in_any_words() -> None:
    hp, written, dell = Said("hp", (5, 2)), Said("HP.", (6, 7, 2)), Said("dell", (8, 2))
    assert old_answer([hp, written, hp]) == ("hp", ((5, 2), (6, 7, 2)), ())
    assert old_answer([Said(" ", (9, 2)), hp])[:2] == (None, ())
    old, tokens, (warning,) = old_answer([hp, dell])
    assert (old, tokens) == (None, ())
    assert warning.startswith("the untouched model answers 'hp', and 'dell' when")


class Held:
    """A record as far as a decision looks at it."""

    def __init__(self, *old: AnswerIds) -> None:
        self.old_tokens = old


HP, WRITTEN, DELL, ASUS = (5, 2), (6, 7, 2), (8, 2), (9, 2)  # token ids of answers


def decide(*entries: tuple[Any, ...]) -> Decision:
    """The decision on a row at these distances, all inside a radius of 1, from entries with these
    old answers: (name, distance, forms of the old answer …)."""
    matches = [Match(name, far, 1.0) for name, far, *_ in entries]
    edits: Any = {name: Held(*old) for name, _, *old in entries}
    nearest = matches[0] if matches else None
    (made,) = by_claims([nearest], [matches], edits)
    return made


def test_the_nearest_entry_fires_whose_old_answer_is_given() -> None:
    row = decide(("a", 0.1, HP), ("b", 0.2, DELL), ("c", 0.3, HP))
    assert [c.answers for c in row.claims] == [(HP,), (DELL,), (HP,)]
    assert row.asked_of == (HP, DELL), "each answer once"
    assert row.settled([HP]).fired == "a"
    assert row.settled([DELL]) == Decision("b", "b", 0.2, 1.0)
    assert row.settled([ASUS]) == row.settled([]) == Decision(None, "a", 0.1, 1.0)


def test_any_form_of_the_old_answer_makes_it_fire() -> None:
    row = decide(("a", 0.1, HP, WRITTEN))
    assert row.asked_of == (HP, WRITTEN)
    assert row.settled([HP]).fired == row.settled([WRITTEN]).fired == "a"
    assert row.settled([DELL]).fired is None


def test_an_entry_without_an_old_answer_goes_by_its_radius() -> None:
    assert decide(("a", 0.1), ("b", 0.2, HP)) == Decision("a", "a", 0.1, 1.0)
    row = decide(("a", 0.1, HP), ("b", 0.2), ("c", 0.3, DELL))
    assert row.claims == (Claim((HP,), Decision("a", "a", 0.1, 1.0)),)
    assert row.settled([DELL]).fired == "b"
    assert decide() == Decision()


# -- on models -------------------------------------------------------------------------------


THING = tiny.picture(STRANGE)  # of another kind, with another name


@pytest.fixture
def make(make_sure_editor: Any) -> Any:
    return partial(make_sure_editor, scope="answer-aware")


@pytest.fixture
def sure(make_sure_editor: Any) -> Any:
    """Editors of tiny models that are sure of their answers (`tiny.taught`)."""
    return make_sure_editor


def said(editor: Editor, image: Any, question: str) -> str:
    """What the untouched model says."""
    with editor._method.routing.bypass():
        return editor.ask(image, question).text


def test_it_fires_only_where_the_old_answer_is_given(sure: Any) -> None:
    editor = sure(scope="answer-aware")
    edit = widened(editor, editor.edit(A, QUESTION, "ab", rephrasings=REWORDED))
    assert edit.old_answer == said(editor, A, QUESTION) == SAYS[QUESTION]
    asked = [(i, q) for i in (A, B, THING) for q in (QUESTION, *REWORDED, WHO, OTHER)]
    answers = editor.ask([i for i, _ in asked], [q for _, q in asked])
    seen = set()
    for (image, question), answer in zip(asked, answers, strict=True):
        old = said(editor, image, question)
        inside, fires = answer.distance <= answer.radius, answer.fired is not None
        assert fires == (inside and old == edit.old_answer)
        assert answer.text == ("ab" if fires else old)
        seen.add((inside, old))
    assert {(True, "no"), (True, "so"), (True, "me")} <= seen, "each way inside the radius"
    assert "not the fact's old answer" in editor.explain(A, WHO).reason
    assert "fires" in editor.explain(A, QUESTION).reason


def test_a_fact_the_model_is_unsure_of_keeps_its_radius(sure: Any) -> None:
    editor = sure(scope="answer-aware")
    edit = widened(editor, editor.edit(A, QUESTION, "ab", rephrasings=[WHO]))
    assert (edit.old_answer, edit.old_tokens) == (None, ())
    (warning,) = [w for w in edit.warnings if "radius alone decides" in w]
    assert f"'{SAYS[QUESTION]}', and '{SAYS[WHO]}'" in warning
    assert editor.ask(A, WHO).fired == edit.id


def test_only_rewordings_answered_otherwise_are_asked(
    sure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    real = measuring.untouched
    monkeypatch.setattr(
        measuring, "untouched", lambda *a: asked.append([q for _, q in a[2]]) or real(*a)
    )
    editor = sure(alpha=0.05)
    editor.edit(A, QUESTION, "ab", rephrasings=[WHO])
    assert asked == [[WHO]]
    asked.clear()
    assert editor.edit(B, QUESTION, "ab", rephrasings=REWORDED[:1]).old_answer == SAYS[QUESTION]
    assert asked == [[]]


@pytest.mark.kernels
def test_what_the_model_says_of_itself_is_seen_in_passing(make_editor: Any) -> None:
    editor = make_editor()
    inputs = inputs_of(editor, [A], [QUESTION])
    with torch.no_grad():
        out = editor.model.generate(**inputs, do_sample=False, max_new_tokens=3)
    own = out[0, -3:].tolist()
    other = [*own[:2], (own[2] + 1) % 50]
    with editor:
        read = editor._method.routing.read(
            [
                Prompt(A, QUESTION, learned=[5, 6, 7, 8, 9]),
                Prompt(A, QUESTION, expected=own),
                Prompt(A, QUESTION, expected=other),
                Prompt(A, QUESTION),
            ]
        )
        alone = editor._method.routing.read([Prompt(A, QUESTION, learned=[5, 6, 7, 8, 9])])
    assert read.gives == [False, True, False, False]
    assert len(read.states.x) == 1
    assert_near(read.states.x[0], alone.states.x[0])


def test_a_new_fact_goes_by_its_radius(sure: Any) -> None:
    editor = sure(scope="answer-aware")
    edit = widened(editor, editor.edit(A, QUESTION, "ab", rephrasings=REWORDED, new=True))
    assert (edit.old_answer, edit.old_tokens, edit.warnings) == (None, (), ())
    assert editor.ask(A, WHO).fired == edit.id


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
        assert all(editor.get(edit).old_tokens for edit in edits), "both wait for the old answer"
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
    editor = sure(scope="answer-aware")
    edit = widened(editor, editor.edit(A, QUESTION, "ab", rephrasings=REWORDED))
    asked = ([A, A, B, A], [QUESTION, WHO, QUESTION, OTHER])
    expected = [a.fired for a in editor.ask(*asked)]
    inputs = inputs_of(editor, *asked)
    with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
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
        decoder = getattr(editor.model, "language_model", editor.model)  # BLIP-2 decodes by it
        step = decoder(input_ids=token, attention_mask=mask, past_key_values=cache).logits
        longer = editor.model.generate(**inputs, do_sample=False, max_new_tokens=2)
    assert longer[0, -2:].tolist() == [int(token), int(step[0, -1].argmax())]


def test_teacher_forcing_decides_as_ask_does(sure: Any) -> None:
    editor = sure(scope="answer-aware")
    editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    (forced,) = editor.force([A], [QUESTION], ["ab"])
    assert [top[0] for top in forced.top] == list(forced.ids)


def test_only_what_may_fire_is_looked_at_again(sure: Any) -> None:
    """A prompt inside a radius is read once where its first token is not the old answer's; where
    it is, once more through the edited layer, and the tokens of the old answer and of the edit's
    are read behind the two in one pass, the last."""
    editor = sure(scope="answer-aware")
    edit = widened(editor, editor.edit(A, QUESTION, "ab", rephrasings=REWORDED))
    editor.ask(A, QUESTION)  # the first time ways of asking are held against one another
    runs: list[int] = []  # tokens that came to the edited layer
    layer = editor.model.get_submodule(editor.layer)
    handle = layer.register_forward_pre_hook(lambda _, args: runs.append(args[0][..., 0].numel()))
    tokens = len(editor._loaded.prompter.answer_ids("no.", 2))  # "no" is read with it
    for image, question, fires in ((A, WHO, False), (A, QUESTION, True)):
        n = inputs_of(editor, [image], [question])["input_ids"].shape[1]
        runs.clear()
        assert (editor.ask(image, question).fired == edit.id) == fires
        assert runs[0] == n
        assert runs[1:] == ([n, 2 * (tokens - 1)] if fires else [1] * (tokens - 2))
    handle.remove()


def test_a_wrong_scope_is_refused() -> None:
    with pytest.raises(InputError, match="unknown scope 'answer-awrae'; nearest: answer-aware"):
        Editor.load("pocket", scope="answer-awrae")


def test_an_edit_keeps_its_scope_whatever_the_editors(sure: Any, tmp_path: Path) -> None:
    editor = sure(alpha=0.05, edits=tmp_path)
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    other: Editor = sure(edits=tmp_path)
    assert other.edits() == [edit]
    asked = ([A, A, A], [QUESTION, WHO, OTHER])
    fired = [[x.fired for x in e.ask(*asked)] for e in (editor, other)]
    assert fired == [[edit.id, None, None]] * 2


def test_what_the_untouched_model_said_is_not_generated_again(sure: Any) -> None:
    editor = sure(scope="answer-aware")
    edit = widened(editor, editor.edit(A, QUESTION, "ab", rephrasings=REWORDED))
    steps: list[int] = []
    layer = editor.model.get_submodule(editor.layer)
    handle = layer.register_forward_pre_hook(lambda *_: steps.append(1))
    with editor.remembering():
        first = editor.ask([A, A], [WHO, OTHER])
        assert [a.text for a in first] == [SAYS[WHO], SAYS[OTHER]]
        n = len(steps)
        assert editor.ask([A, A], [WHO, OTHER]) == first
        assert len(steps) == n, "what they say is known, and nothing fires"
        changed = editor.ask([A, A], [QUESTION, OTHER])
        assert [a.fired for a in changed] == [edit.id, None]
    handle.remove()
