"""Reading a prompt once changes nothing: training and answers are the same, bit for bit."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

import tiny
from balancedit import Editor
from balancedit.learning.loop import Schedule, Start, finetune, with_answer, with_answers
from balancedit.prefill.prefix import Prefix
from closeness import assert_alike, assert_same_text

QUESTION = "what is it?"


def calls(module: nn.Module) -> list[int]:
    """A list that grows with every forward call of a module."""
    made: list[int] = []
    module.register_forward_hook(lambda *_: made.append(1))
    return made


def blocks(editor: Editor) -> nn.ModuleList:
    found = editor.model.get_submodule(editor.layer.rsplit(".", 2)[0].rsplit(".mlp", 1)[0])
    while not isinstance(found, nn.ModuleList):
        path = next(n for n, m in editor.model.named_modules() if m is found)
        found = editor.model.get_submodule(path.rpartition(".")[0])
    return found


@pytest.mark.kernels
@pytest.mark.parametrize("method", ["balancedit", "ft", "grace"])
def test_an_edit_is_that_of_the_plain_loop(
    make_editor: Any, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"method": method}
    settings = {
        "balancedit": {"training": "reference", "transformation": "full", "lr": 0.05},
        "ft": {"steps": 25},
        "grace": {"steps": 30},
    }[method]
    made = []
    for plain in (False, True):
        editor = _editor(make_editor, **options, **settings)
        if plain:
            monkeypatch.setattr(editor._method.routing, "same_prompt", lambda _: nullcontext())
        edit = editor.edit(tiny.picture(1), QUESTION, "cat")
        made.append((edit.loss, editor._store.load([edit.id])[0][0].tensors))
    (loss, tensors), (plain_loss, plain_tensors) = made
    assert loss == plain_loss
    for name, tensor in tensors.items():
        assert torch.equal(tensor, plain_tensors[name])


def _editor(make_editor: Any, **options: Any) -> Editor:
    """One of the tiny editors, with a method's own settings alone."""
    if options["method"] == "balancedit":
        return make_editor(**options)
    base: Editor = make_editor()
    return Editor.on(base._loaded, **options, **({"lr": 0.05} if options["method"] == "ft" else {}))


def test_the_loop_runs_what_comes_before_once(make_editor: Any) -> None:
    editor: Editor = make_editor()
    loaded, method = editor._loaded, editor._method
    stack = blocks(editor)
    first, last = calls(stack[0]), calls(stack[-1])
    inputs = loaded.to_device(loaded.prompter.inputs([tiny.picture(1)], [QUESTION]))
    answer = loaded.prompter.answer_ids("cat", loaded.eos)
    with loaded.prefix.held():
        finetune(
            loaded.model,
            method.routing.layer,
            inputs,
            answer,
            Start({"weight": method.routing.layer.base_weight}, lr=0.01),
            Schedule(steps=5, eps=1e-8),
        )
    assert (len(last), len(first)) == (6, 6)  # hooks see the calls that are stood in for, too
    embedded = calls(stack[0].self_attn)
    with loaded.prefix.held(), torch.no_grad():
        for _ in range(3):
            loaded.model(**with_answer(loaded.model, inputs, answer), use_cache=False)
    assert len(embedded) == 1


@pytest.mark.kernels
@pytest.mark.parametrize("beams", [1, 3])
def test_questions_asked_again_are_answered_the_same_and_read_once(
    make_editor: Any, beams: int
) -> None:
    editor: Editor = make_editor(scope="paper")  # the other reads prompts once by itself
    pictures = [tiny.picture(i) for i in (1, 2, 3)]
    edit = editor.edit(tiny.picture(1), QUESTION, "cat")
    want = editor.ask(pictures, QUESTION, num_beams=beams)
    attention = calls(blocks(editor)[0].self_attn)
    with editor.remembering():
        assert attention.clear() is None
        first = editor.ask(pictures, QUESTION, num_beams=beams)
        read = len(attention)
        attention.clear()
        again = editor.ask(pictures, QUESTION, num_beams=beams)
        assert len(attention) == read - 1  # the decode steps alone
        editor.revert(edit.id)
        without = editor.ask(pictures, QUESTION, num_beams=beams)
    assert first == again
    assert_alike(first, want)
    assert_alike(without, editor.ask(pictures, QUESTION, num_beams=beams))
    attention.clear()
    editor.ask(pictures, QUESTION, num_beams=beams)
    assert len(attention) == read  # nothing is remembered outside


@pytest.mark.kernels
def test_other_pictures_with_the_same_question_are_read(make_editor: Any) -> None:
    editor: Editor = make_editor()
    with editor.remembering():
        said = [editor.ask(tiny.picture(i), QUESTION).text for i in (1, 2, 3)]
    for i, text in zip((1, 2, 3), said, strict=True):
        alone = editor.ask(tiny.picture(i), QUESTION).text
        assert_same_text(text, alone, editor, tiny.picture(i), QUESTION)


def test_a_key_from_an_earlier_block_is_still_looked_at(make_editor: Any) -> None:
    base: Editor = make_editor()
    earlier = base.layer.replace(".2.", ".0.")
    editor = Editor.on(base._loaded, key_layer=earlier, lr=0.5, steps=60, alpha=0.9)
    edit = editor.edit(tiny.picture(1), QUESTION, "cat")
    with editor.remembering():
        answers = [editor.ask(tiny.picture(1), QUESTION) for _ in range(2)]
    assert [a.fired for a in answers] == [edit.id] * 2


def test_a_model_whose_blocks_share_more_is_run_in_full(make_editor: Any) -> None:
    editor: Editor = make_editor()
    stack = blocks(editor)
    shared: list[torch.Tensor] = []
    stack[0].register_forward_hook(lambda m, a, out: shared.append(_hidden(out)))
    stack[-1].register_forward_pre_hook(
        lambda m, args: (args[0] + shared.pop().flip(-1), *args[1:])
    )
    inputs = editor.inputs([tiny.picture(1)], [QUESTION])
    prefix = Prefix(editor.model, editor.layer)
    assert not prefix.fits("training", lambda: editor.model(**inputs, use_cache=False).logits)


def _hidden(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.kernels
def test_where_two_passes_are_never_the_same_everything_is_run_in_full(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No machine that is known to; the checks of the two short ways hold all the same."""
    plain, generator = torch.nn.functional.linear, torch.Generator().manual_seed(0)

    def unsteady(x: torch.Tensor, *given: Any) -> torch.Tensor:
        said = plain(x, *given)
        return said * (1 + 0.02 * torch.randn(said.shape[-1:], generator=generator))

    editor: Editor = make_editor()
    inputs = editor.inputs([tiny.picture(1)], [QUESTION])
    answer = [editor._loaded.prompter.answer_ids("cat", editor._loaded.eos)]
    full = with_answers(editor.model, inputs, answer)
    monkeypatch.setattr(torch.nn.functional, "linear", unsteady)
    prefix = editor._loaded.prefix
    assert not prefix.fits("training", lambda: editor.model(**inputs, use_cache=False).logits)
    assert not editor._loaded.answers.fits(full, answer)
    monkeypatch.undo()
    edit = editor.edit(tiny.picture(1), QUESTION, "cat")
    assert (edit.answer_after, editor.ask(tiny.picture(1), QUESTION).text) == ("cat", "cat")


def test_a_compiled_model_is_run_in_full(make_editor: Any) -> None:
    editor: Editor = make_editor()
    blocks(editor)[0]._compiled_call_impl = lambda *_: None
    prefix = Prefix(editor.model, editor.layer)
    assert not prefix.fits("training", lambda: torch.zeros(1))


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"method": "grace", "epsilon": 0.5}, {}),
        ({"key": "last", "scope": "paper"}, {"rephrasings": ["which is it?"]}),
    ],
)
def test_what_one_method_knows_of_a_question_is_not_taken_for_another_s_key(
    make_editor: Any, options: dict[str, Any], given: dict[str, Any]
) -> None:
    """An editor whose key is the mean asks the unedited model first, as the benchmark does."""
    first = make_editor()
    second = Editor.on(first._loaded, **options)
    edit = second.edit(tiny.picture(1), QUESTION, "cat", **given)
    with first.remembering():
        assert first.ask([tiny.picture(1)], [QUESTION])[0].fired is None
        assert second.ask([tiny.picture(1)], [QUESTION])[0].fired == edit.id
