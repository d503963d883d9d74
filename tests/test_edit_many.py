"""Many facts at once are what they are one after another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny
from balancedit import Edit, Editor, Fact, FailedEdit
from balancedit.errors import EditFailedError, ImageError, InputError, StoreError
from balancedit.methods import routed
from balancedit.methods.balancedit import method as balancedit_method
from balancedit.store import DiskStore
from closeness import LEARNED, assert_alike, assert_same_text
from contract import QUESTION, REWORDED, A, B

OTHER = "what kind is it?"
FACTS = [
    Fact(A, QUESTION, "ab", REWORDED),
    Fact(B, QUESTION, "xyz", REWORDED),
    Fact(A, QUESTION, "cd", REWORDED),  # the first again, with another answer
    Fact(tiny.picture(5), OTHER, "ef", ["which kind is it?"]),
    Fact(B, QUESTION, "xyz", ["now what is it?"]),  # the second again, in other words
]


@pytest.fixture(params=["full", "low_rank"])
def form(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of either form of transformation that the tiny models learn with."""
    lr = 0.05 if request.param == "full" else 0.3
    return {"transformation": request.param, "lr": lr, "key": "last", "alpha": 0.5}


def related(edits: list[Any]) -> list[tuple[Any, ...]]:
    """What became of the facts, ids as numbers."""
    number = {e.id: i for i, e in enumerate(edits)}
    return [
        (
            e.answer_before,
            e.answer_after,
            e.positives,
            number.get(e.overlaps),
            [number[i] for i in e.retires],
            pytest.approx(e.radius, rel=LEARNED),
        )
        for e in edits
    ]


@pytest.mark.kernels
def test_together_they_overlap_and_conflict_as_one_at_a_time(
    make_editor: Any, form: dict[str, Any]
) -> None:
    together, apart = make_editor(**form), make_editor(**form)
    many = together.edit_many(FACTS)
    single = [apart.edit(f.image, f.question, f.answer, rephrasings=f.rephrasings) for f in FACTS]
    assert related(many) == related(single)
    assert many[2].retires == (many[0].id,), "a conflict inside the batch"
    assert many[4].overlaps == many[1].id, "an overlap inside the batch"
    assert many[4].retires == (many[1].id,), "no edit is there twice"
    states = [[e.state for e in ed.edits(states=("active", "retired"))] for ed in (together, apart)]
    assert states[0] == states[1]
    asked = ([A, B, tiny.picture(5)], [QUESTION, QUESTION, OTHER])
    for a, b, image, question in zip(together.ask(*asked), apart.ask(*asked), *asked, strict=True):
        assert (a.fired is None) == (b.fired is None)
        if a.fired is None:
            assert_same_text(a.text, b.text, apart, image, question)
        else:
            assert a.text == b.text, "as learned"


def test_facts_without_relation_are_trained_together(make_editor: Any) -> None:
    editor = make_editor(key="last", alpha=1.0, transformation="full")
    batches = []
    real = editor._method._learned
    editor._method._learned = lambda facts: batches.append(len(facts)) or real(facts)
    editor.edit_many([FACTS[0], FACTS[1], FACTS[3]])
    assert batches == [3]


def test_what_fails_is_named_and_the_others_stand(make_editor: Any, tmp_path: Path) -> None:
    editor = make_editor()
    seen: list[Any] = []
    made = editor.edit_many(
        [
            FACTS[0],
            Fact(tmp_path / "gone.png", QUESTION, "x"),
            Fact(B, " ", "x"),
            FACTS[1],
        ],
        progress=seen.append,
    )
    assert [type(m) for m in made] == [Edit, FailedEdit, FailedEdit, Edit]
    assert isinstance(made[1].error, ImageError)
    assert isinstance(made[2].error, InputError)
    assert [m.number for m in made[1:3]] == [1, 2]
    assert sorted(map(id, seen)) == sorted(map(id, made))
    assert [e.id for e in editor.edits()] == [made[0].id, made[3].id]


def test_a_fact_that_cannot_be_learned_leaves_the_others(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make_editor(key="last", alpha=1.0)
    real = editor._method._trained

    def trained(facts: Any, starts: Any) -> Any:
        made = real(facts, starts)
        return [
            EditFailedError("no") if f.request.target == "xyz" else m
            for f, m in zip(facts, made, strict=True)
        ]

    monkeypatch.setattr(editor._method, "_trained", trained)
    made = editor.edit_many(FACTS[:2])
    assert made[0].answer_after == "ab"
    assert isinstance(made[1], FailedEdit)
    assert [e.id for e in editor.edits()] == [made[0].id]


def test_a_store_that_fails_keeps_what_it_took(
    make_editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make_editor(key="last", alpha=1.0, edits=tmp_path / "e")
    commit = editor._store.commit

    def failing(edit: Edit, *rest: Any) -> Edit:
        if edit.target == "xyz":
            raise StoreError("the disk is full")
        return commit(edit, *rest)

    monkeypatch.setattr(editor._store, "commit", failing)
    with pytest.raises(StoreError, match="full"):
        editor.edit_many(FACTS[:2])
    assert [e.target for e in editor.edits()] == ["ab"]
    assert editor.ask(A, QUESTION).text == "ab"
    assert editor.ask(B, QUESTION).fired is None


def test_stopped_in_the_middle_the_store_holds_the_first(make_editor: Any, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(outcome: Any) -> None:
        raise Stop

    editor = make_editor(key="last", alpha=1.0, edits=tmp_path / "e")
    with pytest.raises(Stop):
        editor.edit_many(FACTS[:2], progress=stop)
    with DiskStore.open(tmp_path / "e") as store:
        assert [e.target for e in store.edits().values()] == ["ab"]
        assert not store.damaged(store.edits())
    assert editor.ask(A, QUESTION).text == "ab"
    assert editor.ask(B, QUESTION).fired is None


def test_facts_that_follow_one_another_are_read_as_often_as_others(
    make_sure_editor: Any,
) -> None:
    def passes(facts: list[Fact]) -> int:
        editor = make_sure_editor(key="last", alpha=1.0, scope="answer-aware")
        editor.edit(tiny.picture(9), OTHER, "zz", rephrasings=["which?"])  # what is found out once
        n = 0
        inside = next(editor._loaded.prefix._below[0].children())  # runs when the block does

        def count(_: Any, args: Any, kwargs: Any) -> None:
            nonlocal n
            hidden = args[0] if args else kwargs["hidden_states"]
            n += hidden.shape[1] > 8  # more than an old answer

        handle = inside.register_forward_pre_hook(count, with_kwargs=True)
        editor.edit_many(facts)
        handle.remove()
        return n

    again = [FACTS[0], replace(FACTS[0], answer="cd"), replace(FACTS[0], answer="ef")]
    assert passes(again) == passes([FACTS[0], FACTS[1], FACTS[3]])


@pytest.mark.kernels
def test_a_negative_that_facts_share_is_read_once(make_editor: Any) -> None:
    editor = make_editor(key="last", alpha=1.0)
    read: list[int] = []
    real = editor._method.routing.read
    editor._method.routing.read = lambda prompts: read.append(len(prompts)) or real(prompts)
    edits = editor.edit_many([FACTS[0], FACTS[1], FACTS[3]])
    assert read == [3 + 3 + 2], "two questions over the black picture"
    apart = make_editor(key="last", alpha=1.0)
    far = [apart.edit_many([fact])[0].d_negative for fact in (FACTS[0], FACTS[1], FACTS[3])]
    assert_alike([e.d_negative for e in edits], far, 1e-3)
    read.clear()
    with editor:
        for fact in (FACTS[0], FACTS[1]):
            editor.edit_many([replace(fact, answer="cd")])
    assert read == [1 + 1 + 1, 1 + 1], "nor again while the editor is at work"
    editor.edit_many([FACTS[0]])
    assert read[2:] == [3], "the model may be another by now"


def test_a_picture_that_facts_share_is_encoded_once(make_editor: Any) -> None:
    editor: Editor = make_editor(key="last", alpha=1.0)
    (encoder,) = editor._loaded.pictures._encoders
    encoded: list[int] = []
    real = encoder.forward

    def count(*args: Any, **kwargs: Any) -> Any:
        pictures = kwargs.get("pixel_values", args[0] if args else None)
        encoded.append(len(pictures))
        return real(*args, **kwargs)

    object.__setattr__(encoder, "forward", count)
    editor.edit_many([FACTS[0], FACTS[1], Fact(A, OTHER, "gh", ["which kind is it?"])])
    assert sum(encoded) == 3, "two pictures and the black one"


@pytest.mark.kernels
@pytest.mark.parametrize("method", ["ft", "grace"])
def test_other_methods_learn_one_after_another(make_editor: Any, method: str) -> None:
    loaded = make_editor()._loaded
    together, apart = Editor.on(loaded, method=method), Editor.on(loaded, method=method)
    many = together.edit_many(FACTS[:2])
    single = [apart.edit(f.image, f.question, f.answer) for f in FACTS[:2]]
    assert_alike([(e.loss, e.radius) for e in many], [(e.loss, e.radius) for e in single])
    assert many[1].overlaps in (None, many[0].id)


def test_full_weights_and_factors_stand_side_by_side(make_editor: Any, tmp_path: Path) -> None:
    first = make_editor(key="last", alpha=0.9, edits=tmp_path / "e", transformation="full", lr=0.05)
    first.edit_many(FACTS[:1])
    second = make_editor(
        key="last", alpha=0.9, edits=tmp_path / "e", transformation="low_rank", lr=0.3
    )
    second.edit_many([FACTS[1], FACTS[2]])
    answers = second.ask([A, B], QUESTION)
    assert [a.text for a in answers] == ["cd", "xyz"]
    kinds = [set(second._method.routing.layer.tensors(e.id)) for e in second.edits()]
    assert kinds == [{"a", "q"}, {"a", "q"}]
    second.revert(second.edits()[-1].id)
    assert [a.text for a in second.ask([A, B], QUESTION)] == ["ab", "xyz"]
    kinds = [set(second._method.routing.layer.tensors(e.id)) for e in second.edits()]
    assert sorted(map(sorted, kinds)) == [["a", "q"], ["weight"]]


def test_long_answers_go_together_as_memory_allows(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"key": "last", "alpha": 1.0, "steps": 2}
    answers = [c * n for c, n in zip("abcdefgh", (60, 3, 45, 45, 3, 3, 99, 3), strict=True)]
    facts = [
        Fact(tiny.picture(i), QUESTION, answer, REWORDED) for i, answer in enumerate(answers, 20)
    ]

    def taught() -> tuple[list[tuple[Any, ...]], list[int], list[int]]:
        """What became of the facts, and tokens with logits in training and in a pass at most."""
        editor = make_editor(**options)
        method = editor._method
        trained, passes = [], []
        measure, read = method._measuring.measured, method.routing._pass

        def measuring(some: Any) -> Any:
            facts = measure(some)
            trained.append(sum(len(fact.answer) for fact in facts))
            return facts

        def reading(prompts: Any) -> Any:
            longest = max(len(p.learned or p.expected) for p in prompts)
            passes.append(len(prompts) * (longest + 1))
            return read(prompts)

        monkeypatch.setattr(method._measuring, "measured", measuring)
        monkeypatch.setattr(method.routing, "_pass", reading)
        return [(e.target, e.steps) for e in editor.edit_many(facts)], trained, passes

    whole, trained, passes = taught()
    assert max(trained) > 200
    assert max(passes) > 800
    vocabulary = len(tiny.tokenizer())
    monkeypatch.setattr(balancedit_method, "_BYTES", 16 * vocabulary * 120)
    monkeypatch.setattr(routed, "_BYTES", 8 * vocabulary * 240)
    small, trained, passes = taught()
    assert small == whole
    assert sum(trained) >= sum(len(a) + 1 for a in answers)
    assert 60 < max(trained) <= 120
    assert max(passes) <= 240
