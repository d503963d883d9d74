"""A caller's own calls of the edited model: decided on the prompt, then run once, as without us.

The subjects are tiny models that are sure of their answers; the edit says "ab" where they said
"no".
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from transformers import (
    DynamicCache,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TextIteratorStreamer,
)

from balancedit import Editor
from balancedit.errors import InputError, RoutingError
from balancedit.layer.prompts import with_answers
from closeness import assert_near
from contract import REWORDED, A, inputs_of
from tiny.taught import OTHER, QUESTION, SAYS, WHO

GREEDY: dict[str, Any] = {"do_sample": False, "max_new_tokens": 8}


@pytest.fixture
def editor(make_sure_editor: Any) -> Editor:
    """An editor that holds one edit: "ab" in place of "no"."""
    made: Editor = make_sure_editor()
    made.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    return made


def generated(editor: Editor, question: str = QUESTION, **how: Any) -> str:
    """What the raw edited model generates."""
    inputs = inputs_of(editor, [A], [question])
    with editor:
        out = editor.model.generate(**inputs, **(GREEDY | how))
    return editor._loaded.prompter.answers(out, inputs["input_ids"])[0]


def decoder_of(editor: Editor) -> Any:
    """The module that takes a cache: the model, or (BLIP-2) its language model."""
    return getattr(editor.model, "language_model", editor.model)


class Spy(LogitsProcessor):
    """Counts its calls and changes nothing."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return scores


class StopSpy(StoppingCriteria):
    """Counts its calls and stops nothing."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        self.calls += 1
        return torch.zeros(len(input_ids), dtype=torch.bool)


def test_a_streamer_in_a_thread_gets_the_edited_answer(editor: Editor) -> None:
    tokenizer = editor.processor.tokenizer
    for question, said in ((QUESTION, "ab"), (WHO, SAYS[WHO])):
        inputs = inputs_of(editor, [A], [question])
        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        with editor:
            thread = threading.Thread(
                target=editor.model.generate, kwargs=inputs | GREEDY | {"streamer": streamer}
            )
            thread.start()
            text = "".join(streamer)
            thread.join()
        assert text.strip().endswith(said)
        assert SAYS[QUESTION] not in text.split()


@pytest.mark.parametrize("question", [QUESTION, WHO, OTHER])
def test_processors_and_criteria_are_called_once_a_token(editor: Editor, question: str) -> None:
    processor, criterion = Spy(), StopSpy()
    inputs = inputs_of(editor, [A], [question])
    with editor:
        out = editor.model.generate(
            **inputs,
            do_sample=False,
            min_new_tokens=5,
            max_new_tokens=5,
            logits_processor=LogitsProcessorList([processor]),
            stopping_criteria=StoppingCriteriaList([criterion]),
            return_dict_in_generate=True,
            output_scores=True,
        )
    assert len(out.scores) == 5
    assert processor.calls == criterion.calls == 5


@pytest.mark.parametrize("question", [QUESTION, OTHER])
def test_random_numbers_are_drawn_as_the_seed_says(editor: Editor, question: str) -> None:
    how = {"do_sample": True, "min_new_tokens": 6, "max_new_tokens": 6, "temperature": 3.0}
    inputs = inputs_of(editor, [A], [question])
    texts, after = [], []
    for attached in (False, True):
        torch.manual_seed(7)
        if attached:
            with editor:
                texts.append(editor.model.generate(**inputs, **how).tolist())
        else:
            texts.append(editor.model.generate(**inputs, **how).tolist())
        after.append(torch.get_rng_state())
    assert torch.equal(*after), "as many as without an editor"
    assert (texts[0] == texts[1]) == (question == OTHER)


def test_an_empty_cache_that_is_given_is_filled_once(editor: Editor) -> None:
    if decoder_of(editor) is not editor.model:
        pytest.skip("this model hands its cache to its language model by itself")
    cache = DynamicCache(config=editor.model.config.get_text_config())
    assert generated(editor, past_key_values=cache) == "ab"
    tokens = inputs_of(editor, [A], [QUESTION])["input_ids"].shape[1]
    assert cache.get_seq_length() == tokens + 2, "prompt, and the answer but for its end"


def test_a_cache_with_earlier_turns_is_refused_with_the_remedy(editor: Editor) -> None:
    if decoder_of(editor) is not editor.model:
        pytest.skip("this model hands its cache to its language model by itself")
    inputs = inputs_of(editor, [A], [QUESTION])
    with editor:
        with torch.no_grad():
            cache = editor.model(**inputs, use_cache=True).past_key_values
        with pytest.raises(RoutingError, match=r"holds \d+ tokens of earlier turns.*input_ids"):
            editor.model.generate(**inputs, past_key_values=cache, **GREEDY)
    assert editor.ask(A, QUESTION).text == "ab", "a refused call leaves nothing behind"


@pytest.mark.parametrize("where", ["call", "checkpoint"])
def test_a_penalty_moves_no_decision(make_sure_editor: Any, where: str) -> None:
    editor = make_sure_editor()
    if where == "checkpoint":
        for module in editor.model.modules():
            if getattr(module, "generation_config", None) is not None:
                module.generation_config.repetition_penalty = 50.0
                module.generation_config.suppress_tokens = [
                    editor._loaded.prompter.answer_ids(SAYS[QUESTION], 2)[-2]
                ]
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert (edit.answer_before, edit.old_answer) == (SAYS[QUESTION], SAYS[QUESTION])
    assert editor.ask(A, QUESTION).fired == edit.id
    how = {"repetition_penalty": 50.0} if where == "call" else {}
    inputs = inputs_of(editor, [A], [QUESTION])
    with editor, editor._method.routing.tracing() as trace:
        editor.model.generate(**inputs, **GREEDY, **how)
    assert [d.fired for d in trace.rows] == [edit.id]


def test_guessed_tokens_are_no_part_of_the_prompt(editor: Editor) -> None:
    if decoder_of(editor) is not editor.model:
        pytest.skip("this model takes no guesses")
    first = inputs_of(editor, [A], [QUESTION])
    again = inputs_of(editor, [None], [QUESTION])["input_ids"]
    ids = torch.cat([first["input_ids"], again], 1)  # a turn that was had before: its end is known
    inputs = first | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    lengths: list[int] = []
    handle = editor.model.get_submodule(editor.layer).register_forward_pre_hook(
        lambda _, args: lengths.append(args[0].shape[1])
    )
    texts, keys = [], []
    for how in ({}, {"prompt_lookup_num_tokens": 4}):
        lengths.clear()
        with editor, editor._method.routing.tracing() as trace:
            texts.append(editor.model.generate(**inputs, **GREEDY, **how).tolist())
        keys.append(trace.stacked_keys())
        assert (lengths[0] > ids.shape[1]) == bool(how), "the first pass brings guesses"
    handle.remove()
    assert texts[0] == texts[1]
    assert_near(keys[1], keys[0])


def test_embeddings_are_decided_as_their_tokens_are(editor: Editor) -> None:
    (edit,) = editor.edits()
    for question, fired in ((QUESTION, edit.id), (WHO, None)):
        inputs = inputs_of(editor, [A], [question])
        seen: dict[str, Any] = {}
        handle = editor.model.get_submodule(
            "model.language_model" if decoder_of(editor) is editor.model else "language_model"
        ).register_forward_pre_hook(lambda m, a, k, s=seen: s.update(k), with_kwargs=True)
        with torch.no_grad():
            expected = editor.model(**inputs).logits
        handle.remove()
        embedded = {
            "inputs_embeds": seen["inputs_embeds"],
            "attention_mask": inputs["attention_mask"],
        }
        with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
            logits = decoder_of(editor)(**embedded).logits
        assert [d.fired for d in trace.rows] == [fired]
        same = torch.allclose(logits[:, -1], expected[:, -1], atol=1e-3)
        assert same == (fired is None)


def test_teacher_forced_rows_wait_for_their_own_prompts_answers(editor: Editor) -> None:
    (edit,) = editor.edits()
    questions = [QUESTION, WHO, OTHER]
    prompts = inputs_of(editor, [A] * 3, questions)
    answers = [editor._loaded.prompter.answer_ids(a, 2) for a in ("zz", "no", "ab")]
    full = with_answers(editor.model, prompts, answers)
    lengths = prompts["attention_mask"].sum(1).tolist()
    with torch.no_grad(), editor._method.routing.tracing() as trace:
        editor.forward(full, prompt_lengths=lengths)
    assert [d.fired for d in trace.rows] == [edit.id, None, None]
    assert not any(d.claims for d in trace.rows)


def test_packed_prompts_are_refused(editor: Editor) -> None:
    inputs = inputs_of(editor, [A], [QUESTION])
    n = inputs["input_ids"].shape[1]
    decoder = decoder_of(editor)
    ids = torch.full((1, 12), 40)
    restarting = torch.tensor([[*range(6), *range(6)]])
    with torch.no_grad(), editor:
        with pytest.raises(RoutingError, match="'position_ids' packs several prompts"):
            decoder(input_ids=ids, position_ids=restarting)
        if decoder is editor.model:
            with pytest.raises(RoutingError, match="'cu_seq_lens_q' packs several prompts"):
                decoder(input_ids=ids, cu_seq_lens_q=torch.tensor([0, 6, 12]))
        decoder(input_ids=ids, position_ids=torch.arange(12)[None])
    assert n > 0
    assert editor.ask(A, QUESTION).text == "ab"


def test_dropout_reaches_no_key_and_no_answer(editor: Editor) -> None:
    for module in editor.model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.5
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.5
    (edit,) = editor.edits()
    editor.model.train()
    asked = [editor.ask(A, QUESTION) for _ in range(4)]
    assert [(a.text, a.fired) for a in asked] == [("ab", edit.id)] * 4
    inputs = inputs_of(editor, [A] * 6, [QUESTION] * 6)
    with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
        editor.model(**inputs)
        editor.model.generate(**inputs, **GREEDY)
    assert [d.fired for d in trace.rows] == [edit.id] * 12
    assert all(d.distance == pytest.approx(0, abs=1e-4) for d in trace.rows)
    assert all(module.training for module in editor.model.modules()), "the mode is given back"


def test_saving_the_raw_model_says_what_it_does_not_save(editor: Editor, tmp_path: Any) -> None:
    with editor, pytest.warns(UserWarning, match=r"untouched model.*Editor\.save"):
        editor.model.save_pretrained(tmp_path / "inside")
    assert (tmp_path / "inside" / "config.json").exists()


def test_a_part_of_the_model_cannot_decide(editor: Editor) -> None:
    if decoder_of(editor) is not editor.model:
        pytest.skip("the parts of this model are whole models")
    inputs = inputs_of(editor, [A], [QUESTION])
    with torch.no_grad(), editor, pytest.raises(RoutingError, match="call the model itself"):
        editor.model.model(**inputs)


# -- streaming -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("question", "said"), [(QUESTION, "ab"), (OTHER, SAYS[OTHER])])
def test_an_answer_comes_in_pieces(editor: Editor, question: str, said: str) -> None:
    stream = editor.ask(A, question, stream=True)
    pieces = list(stream)
    assert "".join(pieces) == said
    assert len(pieces) > 1
    assert stream.answer == editor.ask(A, question)


def test_many_answers_come_in_pieces_of_their_rows(editor: Editor) -> None:
    questions = [QUESTION, WHO, OTHER]
    texts = ["", "", ""]
    stream = editor.ask(A, questions, stream=True, batch_size=2)
    for row, piece in stream:
        texts[row] += piece
    answers = editor.ask(A, questions)
    assert texts == [a.text for a in answers] == ["ab", SAYS[WHO], SAYS[OTHER]]
    assert [(a.text, a.fired) for a in stream.answers or []] == [(a.text, a.fired) for a in answers]


def test_closing_a_stream_stops_the_model(editor: Editor) -> None:
    steps: list[int] = []
    layer = editor.model.get_submodule(editor.layer)
    whole = len(list(editor.ask(A, OTHER, stream=True)))
    handle = layer.register_forward_pre_hook(lambda *_: steps.append(1) or gate.wait(5))
    gate = threading.Event()
    stream = editor.ask(A, OTHER, stream=True)
    closing = threading.Thread(target=stream.close)
    closing.start()
    gate.set()
    closing.join()
    handle.remove()
    assert len(steps) < whole, "closed in its first steps"
    assert stream.answer is None
    assert list(stream) == []
    assert editor.ask(A, QUESTION).text == "ab", "the editor is free again"


def test_what_goes_wrong_in_a_stream_is_said_to_its_reader(editor: Editor) -> None:
    stream = editor.ask(A, "who? " * 400, stream=True)
    with pytest.raises(InputError, match="shorten the question"):
        list(stream)
    with pytest.raises(InputError, match="one beam"):
        editor.ask(A, QUESTION, stream=True, num_beams=2)  # type: ignore[call-overload]
    with editor, pytest.raises(InputError, match="leave that context first"):
        editor.ask(A, QUESTION, stream=True)
