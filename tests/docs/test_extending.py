"""docs/extending.md does what it says: a method, a store backend and an architecture, each added as
the page adds it, and held to what the others are."""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf

import tiny
from balancedit import Editor
from balancedit.errors import InputError, StoreError
from balancedit.methods import METHODS
from balancedit.models.architectures import ARCHITECTURES
from balancedit.store import BACKENDS
from closeness import LEARNED, assert_near
from tiny import taught
from tiny.families import _made, _text, _vision

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
FILE = re.compile(r"# (\S+\.py)\n")
QUESTION, ANSWER = "What is this?", "parrot"


def section(title: str) -> list[str]:
    """The Python blocks of one of the page's sections."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(title: str, **names: Any) -> dict[str, Any]:
    """Write the files of a section here, run its other blocks, and return what they named."""
    for block in section(title):
        if file := FILE.match(block):
            path = Path(file[1])
            path.parent.mkdir(exist_ok=True)
            path.write_text(block)
            importlib.invalidate_caches()
        else:
            exec(compile(block, title, "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _as_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a directory of one's own, with a picture; what is added is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    tiny.picture(1).save("owl.png")
    before, modules = [dict(t) for t in (METHODS, BACKENDS, ARCHITECTURES)], set(sys.modules)
    yield
    for table, held in zip((METHODS, BACKENDS, ARCHITECTURES), before, strict=True):
        table.clear()
        table.update(held)  # type: ignore[arg-type]
    for name in set(sys.modules) - modules:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def _pocket_is_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model in pocket's place, with a step size that suits it."""

    def load(*_: Any, **__: Any) -> Any:
        model, processor = taught.model("llava")
        loaded = load_model(model, processor=processor, layer=tiny.LLAVA_LAYER)
        return dataclasses.replace(loaded, edit_lr=0.03)

    from balancedit.editor import load_model

    monkeypatch.setattr("balancedit.editor.load_model", load)


@pytest.mark.usefixtures("_pocket_is_tiny")
def test_a_method_is_one_file_and_one_line() -> None:
    made = run("A method")
    editor = made["editor"]
    assert (made["edit"].method, made["edit"].steps) == ("wise-ft", 50)
    inputs = editor.inputs([tiny.picture(1)], [QUESTION])
    base = editor.model(**inputs).logits
    with editor:
        assert torch.equal(editor.model(**inputs).logits, base), "reverted, bit for bit"

    first = editor.edit("owl.png", QUESTION, ANSWER)
    second = editor.edit(tiny.picture(2), QUESTION, "ab")
    assert (second.overlaps, second.answer_after) == (first.id, "ab")
    again = Editor.load("pocket", method="wise-ft", edits="wise-edits")
    assert [e.id for e in again.edits()] == [first.id, second.id]
    assert again.ask("owl.png", QUESTION) == editor.ask("owl.png", QUESTION)
    with pytest.raises(InputError, match="alpha is 2"):
        Editor.load("pocket", method="wise-ft", alpha=2)
    with pytest.raises(InputError, match="nearest: wise-ft"):
        Editor.load("pocket", method="wiseft")


@pytest.mark.usefixtures("_pocket_is_tiny")
def test_the_added_method_goes_its_share_of_the_way() -> None:
    run("A method")

    def step(alpha: float) -> torch.Tensor:
        editor = Editor.load("pocket", method="wise-ft", alpha=alpha, steps=5)
        edit = editor.edit("owl.png", QUESTION, "ab")
        (held,), _ = editor._store.load([edit.id])
        return held.tensors["weight"] - editor._method.routing.layer.base_weight

    assert_near(2 * step(0.5), step(1.0), LEARNED)


@pytest.mark.usefixtures("_pocket_is_tiny")
def test_a_store_backend_is_one_folder_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    made = run("A store backend", Editor=Editor)
    reader, edit = made["reader"], made["edit"]
    assert reader.get(edit.id).target == ANSWER
    assert reader.ask("owl.png", QUESTION) == made["maker"].ask("owl.png", QUESTION)
    with pytest.raises(StoreError, match="read-only"):
        reader.edit("owl.png", QUESTION, "ab")
    with pytest.raises(StoreError, match="read-only"):
        reader.revert(edit.id)
    assert reader.ask("owl.png", QUESTION).fired == edit.id, "nothing changed"
    with pytest.raises(StoreError, match="no zipped edit store"):
        Editor.load("pocket", edits="zip://owl.png")


def test_an_architecture_is_one_line() -> None:
    model, processor = deepseek()
    with pytest.raises(Exception, match="layer"):
        Editor.load(model, processor=processor)
    run("An architecture")
    editor = Editor.load(model, processor=processor, key="mean", lr=0.5, steps=40, alpha=0.9)
    assert editor.layer == "model.language_model.layers.1.mlp.up_proj"
    edit = editor.edit(tiny.picture(1), QUESTION, "ab", rephrasings=["what's it?"], new=True)
    assert editor.ask([tiny.picture(1)], QUESTION)[0].fired == edit.id
    assert edit.answer_after == "ab"


def deepseek() -> tuple[Any, Any]:
    """A tiny random DeepSeek-VL and its processor."""
    tokenizer = tiny.tokenizer(image_token="<image_placeholder>")
    config = tf.DeepseekVLConfig(
        text_config=_text(tokenizer, model_type="llama"),
        vision_config=_vision(model_type="siglip_vision_model"),
        image_token_id=tokenizer.convert_tokens_to_ids("<image_placeholder>"),
    )
    processor = tf.DeepseekVLProcessor(
        tf.DeepseekVLImageProcessorPil(size={"height": 16, "width": 16}, min_size=14),
        tokenizer,
        tiny.CHAT.replace("<image>", "<image_placeholder>"),
        num_image_tokens=4,
    )
    return _made(tf.DeepseekVLForConditionalGeneration, config), processor
