"""`Editor.warm_up`: the first edit then does what the second does, and nothing else has changed."""

from __future__ import annotations

from typing import Any

import torch

import tiny
from balancedit import Editor
from contract import QUESTION, A, B
from tiny import taught


def passes_of_edits(editor: Editor, *pictures: Any) -> list[int]:
    """How often the output head runs in each of these edits."""
    ran = [0]
    model: Any = editor.model
    hook = model.get_output_embeddings().register_forward_hook(lambda *_: ran.append(ran.pop() + 1))
    counts = []
    for picture in pictures:
        ran[0] = 0
        edit = editor.edit(picture, QUESTION, "ab", rephrasings=["what's it?"])
        editor.revert(edit.id)
        counts.append(ran[0])
    hook.remove()
    return counts


def loaded() -> Editor:
    model, processor = taught.model("llava")
    return Editor.load(model, processor=processor, layer=tiny.LLAVA_LAYER, steps=3, lr=0.5)


def test_the_first_edit_finds_out_nothing_any_more() -> None:
    cold, later = passes_of_edits(loaded(), A, A)
    warm = loaded()
    warm.warm_up()
    first, second = passes_of_edits(warm, A, A)
    assert second == later
    assert first - second < (cold - later) / 2  # what is left is found out where an edit fires


def test_nothing_else_changes() -> None:
    plain, warm = loaded(), loaded()
    state = {name: value.clone() for name, value in warm.model.state_dict().items()}
    warm.warm_up()
    assert warm.edits() == []
    assert all(torch.equal(value, state[n]) for n, value in warm.model.state_dict().items())
    assert warm.ask([A, B], QUESTION) == plain.ask([A, B], QUESTION)


class Rephrases:
    """Counts how often it is prepared."""

    prepared = 0

    def __call__(self, question: str, n: int) -> list[str]:
        raise AssertionError("nothing is reworded yet")

    def prepare(self) -> None:
        self.prepared += 1


def test_what_rewords_questions_is_made_ready() -> None:
    editor, rephraser = loaded(), Rephrases()
    object.__setattr__(editor._loaded, "rephraser", rephraser)
    editor.warm_up()
    assert rephraser.prepared == 1


def test_methods_without_anything_to_prepare_do_without() -> None:
    model, processor = taught.model("llava")
    editor = Editor.load(model, processor=processor, layer=tiny.LLAVA_LAYER, method="ft")
    editor.warm_up()
    assert editor.ask(A, QUESTION).text == "no"
