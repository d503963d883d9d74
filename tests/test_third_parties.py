"""What processors and tokenizers cannot do is said of the fact or question it is about, in our
words, and the others stand."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

import tiny
from balancedit import Edit, Editor, Fact, FailedEdit, Pictures
from balancedit.errors import ImageError, InputError, PromptError
from balancedit.models.prompting import Prompter
from contract import QUESTION, REWORDED, A, B
from tiny import families
from tiny.families import FAMILIES

WIDE = Image.new("RGB", (4000, 10))
SMALL = tiny.picture(7, side=31)


@pytest.fixture
def qwen() -> Editor:
    """An editor of a tiny Qwen2-VL, whose processor refuses pictures that are too wide."""
    model, processor = FAMILIES["qwen2_vl"]()
    return Editor.load(model, processor=processor, lr=0.5, steps=3, alpha=0.9)


def failed(made: Any) -> str:
    """The message of a fact that failed, with an error that callers may catch."""
    assert isinstance(made, FailedEdit)
    assert isinstance(made.error, InputError)
    assert "\n" not in str(made.error)
    return str(made.error)


def kinds(made: list[Any]) -> list[type]:
    return [type(one) for one in made]


def test_a_picture_that_a_processor_refuses_fails_alone(qwen: Editor) -> None:
    facts = [
        Fact(A, QUESTION, "ab", REWORDED),
        Fact(WIDE, QUESTION, "cd", REWORDED),
        Fact(B, QUESTION, "ef", REWORDED, negative=WIDE),
        Fact(Pictures(A, WIDE), QUESTION, "gh", REWORDED),
        Fact(B, QUESTION, "xyz", REWORDED),
    ]
    made = qwen.edit_many(facts)
    assert kinds(made) == [Edit, FailedEdit, FailedEdit, FailedEdit, Edit]
    for one in made[1:4]:
        assert "4000×10" in failed(one)
        assert "aspect ratio" in failed(one), "what the processor says"
    with pytest.raises(PromptError, match=r"processor of .*Qwen2-VL"):
        qwen.edit(WIDE, QUESTION, "ab")
    assert len(qwen.edits()) == 2


def test_the_question_of_a_batch_is_named(qwen: Editor, tmp_path: Any) -> None:
    for how in ({}, {"batch_size": 1}, {"stream": True}):
        with pytest.raises(InputError, match="question 3 of 4: the processor"):
            list(qwen.ask([A, None, WIDE, B], QUESTION, max_new_tokens=1, **how))
    with pytest.raises(InputError, match=r"^the processor"):
        qwen.ask(WIDE, QUESTION)
    (tmp_path / "bad.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"question 2 of 2: .*bad\.png"):
        qwen.ask([A, tmp_path / "bad.png"], QUESTION)
    with pytest.raises(InputError, match="question 2 of 3: the question is empty"):
        qwen.ask(A, [QUESTION, " ", QUESTION])
    with pytest.raises(ImageError, match="question 1 of 2"):
        qwen.force([tmp_path / "bad.png", A], [QUESTION] * 2, ["ab"] * 2)


@pytest.mark.parametrize("error", [RuntimeError, KeyError, AssertionError, OSError])
def test_whatever_a_processor_raises(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    editor = make_editor(steps=3)
    real = Prompter._from_chat if editor.processor.chat_template else Prompter._from_template

    def failing(self: Prompter, images: Any, questions: Any) -> Any:
        if any(image.size == SMALL.size for row in images for image in row):
            raise error("not\nlike this")
        return real(self, images, questions)

    monkeypatch.setattr(Prompter, real.__name__, failing)
    made = editor.edit_many(
        [Fact(i, QUESTION, "ab", REWORDED) for i in (A, SMALL, B)],
    )
    assert kinds(made) == [Edit, FailedEdit, Edit]
    assert "31×31" in failed(made[1])


def test_memory_that_runs_out_is_not_the_prompt_s_fault(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make_editor()

    def failing(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Prompter, "_from_chat", failing)
    monkeypatch.setattr(Prompter, "_from_template", failing)
    with pytest.raises(MemoryError):
        editor.ask(A, QUESTION)


# -- markers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["<image>", "</s>", "a</s>b", "<user> <pad><s>", "<imagé>"])
def test_a_marker_in_an_answer_is_text(make_editor: Any, answer: str) -> None:
    prompter, eos = (loaded := make_editor()._loaded).prompter, loaded.eos
    prompter.check_answer(answer)
    *ids, last = prompter.answer_ids(answer, eos)
    assert last == eos
    assert set(ids).isdisjoint(prompter.tokenizer.all_special_ids)
    assert prompter.decode([[*ids, eos]]) == [answer]


def test_an_answer_with_a_marker_is_learned(make_editor: Any) -> None:
    editor = make_editor(steps=150)
    made = editor.edit(A, QUESTION, "</s>", rephrasings=REWORDED)
    assert (made.answer_after, editor.ask(A, QUESTION).text) == ("</s>", "</s>")


def test_a_marker_that_cannot_be_text_fails_its_fact_alone(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make_editor(steps=3)
    kind = type(editor.processor.tokenizer)
    real = kind.__call__

    def older(self: Any, *args: Any, **how: Any) -> Any:
        if how.pop("split_special_tokens", False):
            raise NotImplementedError
        return real(self, *args, **how)

    monkeypatch.setattr(kind, "__call__", older)
    made = editor.edit_many(
        [Fact(A, QUESTION, "a</s>", REWORDED), Fact(B, QUESTION, "ab", REWORDED)]
    )
    assert kinds(made) == [FailedEdit, Edit]
    assert "'</s>', which marks parts" in failed(made[0])


def test_markers_in_questions_and_rephrasings_fail_their_fact_alone() -> None:
    model, processor = tiny.blip2()  # asked by a format string, which takes no marker
    editor = Editor.load(
        model, processor=processor, layer=tiny.OPT_LAYER, prompt=tiny.PROMPT["blip2"], steps=3
    )
    made = editor.edit_many(
        [
            Fact(A, "what <image> is this?", "ab", REWORDED),
            Fact(A, QUESTION, "ab", ["what </s> is it?"]),
            Fact(A, QUESTION, "ab", ["y" * 600]),
            Fact(B, QUESTION, "cd", REWORDED),
        ]
    )
    assert kinds(made) == [FailedEdit, FailedEdit, FailedEdit, Edit]
    assert "'<image>'" in failed(made[0])
    assert "'</s>'" in failed(made[1])
    assert "holds 512" in failed(made[2])
    with pytest.raises(InputError, match=r"question 2 of 2: .*'</s>'"):
        editor.ask(A, [QUESTION, "</s>?"])


def test_an_answer_that_a_prompt_cannot_hold_fails_alone_with_ike() -> None:
    model, processor = tiny.blip2()
    editor = Editor.load(
        model,
        processor=processor,
        layer=tiny.OPT_LAYER,
        prompt=tiny.PROMPT["blip2"],
        method="ike",
        demonstrations=0,
    )
    made = editor.edit_many(
        [Fact(A, QUESTION, "a</s>"), Fact(A, QUESTION, "ab " * 80), Fact(B, QUESTION, "cd")]
    )
    assert kinds(made) == [FailedEdit, FailedEdit, Edit]
    assert "cannot be put into a prompt" in str(made[0].error)
    assert "512 tokens" in str(made[1].error)


def test_an_answer_that_holds_the_answers_end_is_refused() -> None:
    model, processor = families.minigpt4()
    editor = Editor.load(model, processor=processor, steps=3)
    made = editor.edit_many(
        [Fact(A, QUESTION, "a ### b", REWORDED), Fact(B, QUESTION, "ab", REWORDED)]
    )
    assert kinds(made) == [FailedEdit, Edit]
    assert "'###', at which answers" in failed(made[0])


def test_an_answer_beyond_the_vocabulary_is_refused(make_editor: Any) -> None:
    editor = make_editor(steps=3)
    editor.processor.tokenizer.unk_token = "q"  # what it makes of letters that it does not know
    made = editor.edit_many(
        [Fact(A, QUESTION, "aqua", REWORDED), Fact(B, QUESTION, "ab", REWORDED)]
    )
    assert kinds(made) == [FailedEdit, Edit]
    assert "'aqua' holds characters that are not in the vocabulary" in failed(made[0])
