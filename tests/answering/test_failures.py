"""What fails inside a model's own code is a `ModelError` that names the model's class, with what it
raised as the cause; what fails in ours stays what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import tiny
from balancedit import Editor
from balancedit.cli.main import _message
from balancedit.errors import InputError, ModelError
from contract import QUESTION, REWORDED, A, B

pytestmark = pytest.mark.parametrize("family", ["llava"])

USES: dict[str, Callable[[Editor], Any]] = {
    "ask": lambda ed: ed.ask(A, QUESTION),
    "batch": lambda ed: ed.ask([A, B], QUESTION),
    "stream": lambda ed: list(ed.ask(A, QUESTION, stream=True)),
    "explain": lambda ed: ed.explain(A, QUESTION),
    "force": lambda ed: ed.force([A], [QUESTION], ["ab"]),
    "edit": lambda ed: ed.edit(A, QUESTION, "ab", rephrasings=REWORDED),
}
METHODS = ["balancedit", "ft", "grace", "ike"]


def broken(editor: Editor, error: Exception | None = None) -> None:
    """Have the model's attention raise: an error, or what torch makes of shapes that do not fit."""

    def forward(*_: Any, **__: Any) -> Any:
        if error is not None:
            raise error
        return torch.ones(2, 3) @ torch.ones(2, 3)

    attention = editor.model.get_submodule("model.language_model.layers.1.self_attn")
    attention.forward = forward


def assert_said(caught: pytest.ExceptionInfo[ModelError], *words: str) -> None:
    message = _message(caught.value)
    assert "LlavaForConditionalGeneration" in message
    assert "this is a bug" not in message
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("use", USES)
def test_shapes_that_do_not_fit(make_editor: Any, use: str) -> None:
    editor = make_editor(steps=2)
    broken(editor)
    with pytest.raises(ModelError) as caught:
        USES[use](editor)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert_said(caught, "RuntimeError: mat1 and mat2", "the model's own code")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_so(method: str, family: str) -> None:
    options: dict[str, Any] = {"ike": {"demonstrations": 0}}.get(method, {})
    editor = Editor.on(tiny.load(family), method=method, **options)
    broken(editor)
    for use in ("ask", "edit"):
        with pytest.raises(ModelError) as caught:
            USES[use](editor)
        assert_said(caught)


@pytest.mark.parametrize(
    "error",
    [
        TypeError("forward() got an unexpected keyword argument\n'x'"),
        KeyError("image_sizes"),
        AttributeError("'NoneType' object has no attribute 'shape'"),
        NotImplementedError(),
        AssertionError(),
        IndexError("index 9 is out of bounds"),
        ZeroDivisionError("division by zero"),
    ],
)
def test_whatever_a_forward_raises(make_editor: Any, error: Exception) -> None:
    editor = make_editor()
    broken(editor, error)
    with pytest.raises(ModelError) as caught:
        editor.ask(A, QUESTION)
    assert caught.value.__cause__ is error
    assert_said(caught, type(error).__name__)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out(make_editor: Any, error: Exception) -> None:
    editor = make_editor(steps=2)
    broken(editor, error)
    with pytest.raises(ModelError) as caught:
        editor.ask([A, B], QUESTION)
    assert_said(caught, "ran out of memory on 2 prompts", "batch_size", "bfloat16")
    with pytest.raises(ModelError) as caught:
        editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    assert_said(caught, "ran out of memory")


def test_the_editor_works_on_once_the_model_does(make_editor: Any) -> None:
    editor = make_editor()
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    broken(editor)
    for use in USES.values():
        with pytest.raises(ModelError):
            use(editor)
    del editor.model.get_submodule("model.language_model.layers.1.self_attn").forward
    assert [e.id for e in editor.edits()] == [edit.id]
    assert editor.ask(A, QUESTION).text == "ab"


def test_a_fault_of_our_own_is_no_model_s(
    make_editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What our hook gives torch that does not fit is for us to mend."""
    editor = make_editor()
    edit = editor.edit(A, QUESTION, "ab", rephrasings=REWORDED)
    held = editor._method.routing.layer._held[edit.id]
    editor._method.routing.layer._held[edit.id] = {n: t[:, :1] for n, t in held.items()}
    with pytest.raises(RuntimeError) as caught:
        editor.ask(A, QUESTION)
    assert not isinstance(caught.value, ModelError)
    assert "this is a bug" in _message(caught.value)


def test_our_own_errors_and_interrupts_go_through(make_editor: Any) -> None:
    editor = make_editor()
    for error in (InputError("no"), KeyboardInterrupt()):
        broken(editor, error)  # type: ignore[arg-type]
        with pytest.raises(type(error)):
            editor.ask(A, QUESTION)
