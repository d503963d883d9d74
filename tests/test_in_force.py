"""What is held, seen and undone: by several processes on one store (here: several editors, each on
a model of its own), several editors on one model, several threads, and in the middle of whatever
the caller is doing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit import Editor, Fact
from balancedit.errors import RoutingError, StoreError, UnsupportedModelError
from balancedit.models.loading import LoadedModel, load_model
from contract import REWORDED, A, inputs_of
from tiny import taught
from tiny.taught import OTHER, QUESTION, SAYS, WHO

SETTINGS: dict[str, Any] = {"lr": 0.5, "steps": 60, "alpha": 0.9}
OLD = SAYS[QUESTION]


def loaded() -> LoadedModel:
    model, processor = taught.model("llava")
    return load_model(model, processor=processor, layer=tiny.LAST["llava"])


def editor(edits: Path | None = None, on: LoadedModel | None = None) -> Editor:
    where = {} if edits is None else {"edits": str(edits)}
    return Editor.on(on or loaded(), **where, **SETTINGS)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "edits"


@pytest.fixture
def two(store: Path) -> tuple[Editor, Editor]:
    """Two processes' editors of one store; the first has taught the second something."""
    one = editor(store)
    one.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    return one, editor(store)


def says(made: Editor) -> str:
    return made.ask(A, QUESTION).text


def generates(made: Editor) -> str:
    """What the raw model says, inside the editor's context."""
    inputs = inputs_of(made, [A], [QUESTION])
    out = made.model.generate(**inputs, do_sample=False, max_new_tokens=8)
    return made._loaded.prompter.answers(out, inputs["input_ids"])[0]


def elsewhere(work: Any) -> list[Any]:
    """What `work` gives or raises in another thread, which must come to an end."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it waits for ever"
    return found


# -- several processes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "look",
    [
        lambda e: e.edits(),
        lambda e: e.edits(states=("active", "retired", "reverted")),
        lambda e: e.get(e.edits()[0].id),
        lambda e: e.damaged,
        lambda e: e._store.edits(),
    ],
)
def test_looking_at_records_hides_no_change(two: tuple[Editor, Editor], look: Any) -> None:
    one, other = two
    assert says(other) == "ab"
    one.edit(A, WHO, "xyz", rephrasings=["who is it?"])
    one.revert(one.edits()[0].id)
    look(other)
    assert says(other) == OLD


def test_the_raw_model_follows_other_processes(two: tuple[Editor, Editor]) -> None:
    one, other = two
    (edit,) = one.edits()
    with other:
        assert generates(other) == "ab"
        one.revert(edit.id)
        assert generates(other) == OLD  # in the very same context
        one.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
        assert generates(other) == "xyz"
    one.revert(one.edits()[0].id)
    with other:  # nothing was asked since
        assert generates(other) == OLD


def test_a_raw_forward_follows_other_processes(two: tuple[Editor, Editor]) -> None:
    one, other = two
    inputs = inputs_of(other, [A], [QUESTION])
    with other, torch.no_grad():
        edited = other.model(**inputs).logits[:, -1]
        one.revert(one.edits()[0].id)
        untouched = other.model(**inputs).logits[:, -1]
    assert edited.argmax() != untouched.argmax()
    assert torch.equal(untouched, other.model(**inputs).logits[:, -1])


def test_an_answer_under_way_keeps_its_edit(two: tuple[Editor, Editor]) -> None:
    """Taken back while tokens are being generated: the answer goes on as it was begun."""
    from transformers import LogitsProcessor, LogitsProcessorList

    one, other = two

    class Reverting(LogitsProcessor):
        def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            if one.edits():
                one.revert(one.edits()[0].id)
            return scores

    inputs = inputs_of(other, [A], [QUESTION])
    with other:
        out = other.model.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=8,
            logits_processor=LogitsProcessorList([Reverting()]),
        )
        assert other._loaded.prompter.answers(out, inputs["input_ids"]) == ["ab"]
        assert generates(other) == OLD


def raced(store: Path, first: str, second: str) -> tuple[Editor, Editor]:
    """Two processes that teach the same fact at once: the second decides while the first has not
    committed yet, and commits after it."""
    one, other = editor(store), editor(store)
    commit = other._store.commit

    def late(*args: Any) -> Any:
        other._store.commit = commit  # type: ignore[method-assign]
        one.edit(A, QUESTION, first, rephrasings=REWORDED)
        return commit(*args)

    other._store.commit = late  # type: ignore[method-assign]
    other.edit(A, QUESTION, second, rephrasings=REWORDED)
    return one, other


@pytest.mark.parametrize(("first", "second"), [("ab", "xyz"), ("xyz", "ab"), ("ab", "ab")])
def test_of_two_who_teach_one_fact_at_once_the_last_stands(
    store: Path, first: str, second: str
) -> None:
    one, other = raced(store, first, second)
    for process in (one, other, editor(store)):
        (edit,) = process.edits()
        assert edit.target == second
        assert len(edit.retires) == 1
        assert says(process) == second
    other.revert(other.edits()[0].id)
    for process in (one, other, editor(store)):
        assert [e.target for e in process.edits()] == [first]
        assert says(process) == first


def test_other_facts_taught_at_once_both_stand(store: Path) -> None:
    one, other = editor(store), editor(store)
    commit = other._store.commit

    def late(*args: Any) -> Any:
        other._store.commit = commit  # type: ignore[method-assign]
        one.edit(A, WHO, "xyz", rephrasings=["who is it?"])
        return commit(*args)

    other._store.commit = late  # type: ignore[method-assign]
    other.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    for process in (one, other):
        assert [e.target for e in process.edits()] == ["xyz", "ab"]
        assert process.ask([A, A], [QUESTION, WHO])[0].text == "ab"
        assert process.ask([A, A], [QUESTION, WHO])[1].text == "xyz"


# -- interrupted --------------------------------------------------------------------------------


FACTS = [
    Fact(A, QUESTION, "ab", REWORDED),
    Fact(tiny.picture(2), WHO, "xyz", ["who is it?"]),
    Fact(tiny.picture(taught.STRANGE), OTHER, "ab", ["who painted it?"]),
]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_what_was_not_stored_is_not_in_force(store: Path, error: type[BaseException]) -> None:
    made = editor(store)
    settled: list[Any] = []

    def progress(outcome: Any) -> None:
        settled.append(outcome)
        raise error

    with pytest.raises(error) as raised:
        made.edit_many(FACTS, progress=progress)
    assert raised.value.__traceback__ is not None  # which keeps every frame alive
    assert [e.id for e in made.edits()] == [settled[0].id]
    assert list(made._method.active()) == [settled[0].id]
    assert says(made) == "ab"
    assert made.ask(FACTS[1].image, WHO).text == SAYS[WHO]
    made.edit_many(FACTS[1:])
    assert len(made.edits()) == len(made._method.active()) == 3


def test_a_store_that_fails_leaves_the_old_edit_in_force(store: Path) -> None:
    made = editor(store)
    made.edit(A, QUESTION, "ab", rephrasings=REWORDED)

    def fails(*_: Any) -> None:
        raise OSError("no")

    made._store.commit = fails  # type: ignore[method-assign,assignment]
    with pytest.raises(OSError, match="no"):
        made.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
    assert says(made) == "ab"


# -- several editors of one model, several threads ----------------------------------------------


@pytest.fixture
def shared() -> Iterator[tuple[Editor, Editor, Any]]:
    """Two editors of one model; which must be left as it was."""
    model = loaded()
    yield editor(on=model), editor(on=model), model.model
    for module in model.model.modules():
        assert not {"generate", "forward", "save_pretrained"} & vars(module).keys()
        hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
        assert not [h for h in hooks if h.__module__.startswith("balancedit")]


@pytest.mark.parametrize(
    "use",
    [
        lambda e: e.ask(A, QUESTION),
        lambda e: e.explain(A, QUESTION),
        lambda e: e.edit(A, QUESTION, "xyz", rephrasings=REWORDED),
        lambda e: e.force([A], [QUESTION], ["ab"]),
        lambda e: e.inputs([A], [QUESTION]),
        lambda e: e.__enter__(),
    ],
)
def test_two_editors_of_one_model_are_not_mixed(
    shared: tuple[Editor, Editor, Any], use: Any
) -> None:
    one, other, _ = shared
    one.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    with one:
        with pytest.raises(RoutingError, match="another editor's edits are in force"):
            use(other)
        assert generates(one) == "ab"  # and is not disturbed
    assert says(other) == OLD
    assert says(one) == "ab"


def test_editors_may_take_turns(shared: tuple[Editor, Editor, Any]) -> None:
    one, other, model = shared
    one.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    other.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
    for _ in range(2):
        with one:
            assert generates(one) == "ab"
        with other, other:
            assert generates(other) == "xyz"
    assert type(model).generate.__name__ == "generate"


def test_another_threads_question_does_not_wait_for_a_context_to_end(store: Path) -> None:
    made = editor(store)
    made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    with made:
        (refused,) = elsewhere(lambda: made.ask(A, QUESTION))
        assert isinstance(refused, RoutingError)
        assert "another thread" in str(refused)
        assert elsewhere(lambda: generates(made)) == ["ab"]  # the raw model may be called
        assert says(made) == "ab"
    assert elsewhere(lambda: says(made)) == ["ab"]


def test_threads_wait_for_each_others_questions(store: Path) -> None:
    made = editor(store)
    made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(says(made))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == ["ab"] * 6


def test_threads_with_an_editor_each_wait_for_one_model(
    shared: tuple[Editor, Editor, Any],
) -> None:
    one, other, _ = shared
    one.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    other.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
    answers: dict[str, list[str]] = {"ab": [], "xyz": []}

    def ask(made: Editor, wanted: str) -> None:
        for _ in range(4):
            answers[wanted].append(says(made))

    threads = [
        threading.Thread(target=ask, args=args) for args in ((one, "ab"), (other, "xyz")) * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {"ab": ["ab"] * 8, "xyz": ["xyz"] * 8}


# -- in the middle of what the caller is doing --------------------------------------------------


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_any_gradient_mode_will_do(store: Path, mode: Any) -> None:
    model = loaded()
    with mode():
        made = editor(store, on=model)
        first = made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
        assert says(made) == "ab"
        with made:
            assert generates(made) == "ab"
    second = made.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
    with mode():
        assert says(made) == "xyz"
        made.revert(second.id)
    assert says(made) == "ab"
    made.revert(first.id)
    assert says(made) == OLD


def test_a_model_loaded_in_inference_mode_is_refused_by_name() -> None:
    with torch.inference_mode():
        model, processor = tiny.llava()
    with pytest.raises(UnsupportedModelError, match=r"inside torch\.inference_mode"):
        load_model(model, processor=processor, layer=tiny.LAST["llava"])


def test_a_model_that_is_loaded_by_name_may_be_loaded_in_any_mode(tmp_path: Path) -> None:
    for part in tiny.llava():
        part.save_pretrained(tmp_path / "model")
    with torch.inference_mode():
        made = Editor.load(str(tmp_path / "model"), **SETTINGS)
        made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert len(made.edits()) == 1


def test_edits_taken_over_in_inference_mode_can_be_taken_back(two: tuple[Editor, Editor]) -> None:
    one, _ = two
    other = editor(one._store.root)  # type: ignore[attr-defined]
    with torch.inference_mode():
        assert says(other) == "ab"
        with other:
            assert generates(other) == "ab"
    one.edit(A, WHO, "xyz", rephrasings=["who is it?"])
    with torch.inference_mode():
        assert other.ask(A, WHO).text == "xyz"
    for edit in other.edits():
        other.revert(edit.id)
    other.edit(A, QUESTION, "xyz", rephrasings=REWORDED)
    assert says(other) == "xyz"


def test_autocast_does_not_reach_keys_and_distances(store: Path) -> None:
    made = editor(store)
    edit = made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    plain = made.explain(A, QUESTION)
    with torch.autocast("cpu", torch.bfloat16):
        inside = made.explain(A, QUESTION)
        again = editor().edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert inside.answer == plain.answer
    assert inside.neighbours == plain.neighbours
    assert again.radius == pytest.approx(edit.radius, rel=1e-5)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_index_is_exact_in_the_middle_of_autocast(mode: Any) -> None:
    """1,500 entries are found through the index, each by its own key."""
    made = editor()
    edit = made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    tensors = made._method.routing.layer.tensors(edit.id)
    width = made._method.routing.modules[-1].in_features
    keys = torch.randn(1500, width, generator=torch.Generator().manual_seed(0))
    for n, key in enumerate(keys):
        record = replace(edit, id=f"{n:08x}", radius=1e-4, old_answer=None, old_tokens=())
        made._method.add(record, key, tensors)
    made._method.settle()
    with mode(), torch.autocast("cpu", torch.bfloat16):
        decided = made._method.routing.router.decisions(keys)
    assert [d.fired for d in decided] == [f"{n:08x}" for n in range(1500)]
    made._method.remove("00000000")  # what was built in there can be changed here
    assert made._method.routing.router.decisions(keys[:1])[0].fired is None


# -- letting go ----------------------------------------------------------------------------------


def test_a_closed_editor_leaves_one_file_and_the_model(store: Path) -> None:
    made = editor(store)
    made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    with made, pytest.raises(RoutingError, match="before you close"):
        made.close()
    made.close()
    assert sorted(p.name for p in store.glob("store.sqlite3*")) == ["store.sqlite3"]
    with pytest.raises(StoreError, match="closed"):
        made.ask(A, QUESTION)
    assert says(editor(store, on=loaded())) == "ab"
