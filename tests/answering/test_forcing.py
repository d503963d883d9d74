"""Teacher forcing: tokens of a given answer, batched, with routing blind to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from balancedit import Editor
from balancedit.errors import InputError
from balancedit.learning.loop import with_answer
from closeness import assert_near

pytestmark = pytest.mark.kernels

QUESTIONS = ["what is it?", "what sort of thing is this one?", "who?"]
ANSWERS = ["cat", "a much longer answer", "x"]


def test_a_batch_gives_what_plain_passes_give(make_editor: Any) -> None:
    editor: Editor = make_editor()
    images = [tiny.picture(1), None if _textual(editor) else tiny.picture(2), tiny.picture(3)]
    forced = editor.force(images, QUESTIONS, ANSWERS, candidates=3)
    for image, question, answer, found in zip(images, QUESTIONS, ANSWERS, forced, strict=True):
        ids = editor._loaded.prompter.answer_ids(answer, editor._loaded.eos)[:-1]
        inputs = with_answer(editor.model, editor.inputs([image], [question]), ids)
        with torch.no_grad():
            logits = editor.model(**inputs).logits[0, -len(ids) - 1 : -1]
        assert found.ids == tuple(ids)
        chosen = logits.gather(1, torch.tensor(found.top))
        assert_near(chosen, logits.topk(3).values)  # tokens as good as the best


def _textual(editor: Editor) -> bool:
    """Whether the tiny model takes a prompt without a picture."""
    return "language_model.layers" in editor.layer


def test_a_learned_answer_is_the_most_likely_one(make_editor: Any) -> None:
    editor: Editor = make_editor()
    editor.edit(tiny.picture(1), "what is it?", "cat")
    (found,) = editor.force([tiny.picture(1)], ["what is it?"], ["cat"])
    assert [p[0] for p in found.top] == list(found.ids)


def test_the_answer_never_routes(make_editor: Any, key: str) -> None:
    editor: Editor = make_editor(key=key)
    editor.edit(tiny.picture(1), "what is it?", "cat")
    keys = []
    for answer in ANSWERS:
        with editor.attached(), editor._method.routing.tracing() as trace:
            editor.force([tiny.picture(1)], ["what is it?"], [answer])
        keys.append(trace.stacked_keys())
    for found in keys[1:]:
        assert_near(found, keys[0])


def test_an_empty_answer_is_refused(make_editor: Any) -> None:
    editor: Editor = make_editor()
    with pytest.raises(InputError):
        editor.force([tiny.picture(1)], ["what is it?"], [""])
