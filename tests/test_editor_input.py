"""Bad input to the editor: a clear error, and nothing kept."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import T5Config, T5ForConditionalGeneration

import tiny
from balancedit import Editor
from balancedit.errors import (
    EditFailedError,
    ImageError,
    InputError,
    LayerError,
    ModelLoadError,
    StoreMismatchError,
    UnsupportedModelError,
)
from balancedit.models import loading
from balancedit.store.directory import store as disk
from tiny import taught

PICTURE = tiny.picture(1)


@pytest.fixture
def family() -> str:
    return "llava"


@pytest.fixture
def editor(make_editor: Any) -> Editor:
    return make_editor(steps=2)


@pytest.mark.parametrize(
    ("question", "says"),
    [("", "empty"), ("  \n", "empty"), ("x" * 100_000, "100,000 characters"), (7, "int")],
)
def test_questions_that_cannot_be_asked(editor: Editor, question: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        editor.ask(PICTURE, question)
    with pytest.raises(InputError, match=says):
        editor.edit(PICTURE, question, "ab")
    assert editor.edits() == []


@pytest.mark.parametrize("answer", ["", "   ", "a" * 5_000, "\x00", None])
def test_answers_that_cannot_be_taught(editor: Editor, answer: Any) -> None:
    with pytest.raises(InputError, match="answer"):
        editor.edit(PICTURE, "what?", answer)
    assert editor.edits() == []


def test_a_question_beyond_the_models_context(editor: Editor) -> None:
    with pytest.raises(InputError, match="holds 512"):
        editor.ask(PICTURE, "y" * 600)
    with pytest.raises(InputError, match="holds 512"):
        editor.edit(PICTURE, "y" * 600, "ab")


def test_a_file_that_is_no_picture(editor: Editor, tmp_path: Path) -> None:
    file = tmp_path / "notes.png"
    file.write_text("hello")
    with pytest.raises(ImageError, match=r"notes\.png"):
        editor.edit(file, "what?", "ab")
    with pytest.raises(InputError, match="needs an image"):
        editor.edit(None, "what?", "ab")  # type: ignore[arg-type]


def test_rephrasings_must_be_other_words(editor: Editor) -> None:
    with pytest.raises(InputError, match="the question itself"):
        editor.edit(PICTURE, "what?", "ab", rephrasings=["What?"])
    with pytest.raises(InputError, match="empty"):
        editor.edit(PICTURE, "what?", "ab", rephrasings=[" "])


def test_an_answer_the_model_gives_already_is_a_warning(make_sure_editor: Any) -> None:
    editor = make_sure_editor()
    edit = editor.edit(PICTURE, taught.QUESTION, "No.", rephrasings=[taught.REWORDED])
    assert "the model already answered 'no' before the edit" in edit.warnings


def test_an_edit_that_does_not_take_says_so(make_editor: Any) -> None:
    edit = make_editor(steps=1, lr=1e-9).edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    assert any("not 'ab'" in w for w in edit.warnings)


@pytest.mark.parametrize("way", ["fast", "reference"])
def test_a_loss_that_is_no_number_keeps_nothing(
    make_editor: Any, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor, real = make_editor(training=way), F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy", lambda *args, **how: real(*args, **how) * math.nan)
    with pytest.raises(EditFailedError, match="smaller step"):
        editor.edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    assert editor.edits(states=("active", "retired", "reverted")) == []


def test_counts_of_images_and_questions_must_agree(editor: Editor) -> None:
    with pytest.raises(InputError, match="2 images for 3 questions"):
        editor.ask([PICTURE, PICTURE], ["a", "b", "c"])
    assert editor.ask([], []) == []
    assert len(editor.ask(PICTURE, ["a", "b"], max_new_tokens=2)) == 2
    assert len(editor.ask([PICTURE, None], "a", max_new_tokens=2)) == 2


def test_a_wrong_layer_names_near_ones() -> None:
    model, processor = tiny.llava()
    with pytest.raises(LayerError, match=r"layers\.2\.mlp\.up_proj"):
        Editor.load(model, processor=processor, layer="model.language_model.layers.2.mlp.up")
    with pytest.raises(LayerError, match="not a linear layer"):
        Editor.load(model, processor=processor, layer="model.language_model.layers.2.mlp")


def test_an_architecture_outside_the_table_needs_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "ARCHITECTURES", {})
    model, processor = tiny.llava()
    with pytest.raises(LayerError, match=r"likely ones: .*layers\.2\.mlp\.gate_proj"):
        Editor.load(model, processor=processor)
    assert Editor.load(model, processor=processor, layer=tiny.LLAVA_LAYER).layer == tiny.LLAVA_LAYER


def test_unknown_models_methods_presets_and_options() -> None:
    with pytest.raises(ModelLoadError, match="no model 'pokcet'; nearest: pocket"):
        Editor.load("pokcet")
    model, processor = tiny.llava()
    where = {"processor": processor, "layer": tiny.LLAVA_LAYER}
    with pytest.raises(InputError, match="unknown method 'balanceddit'; nearest: balancedit"):
        Editor.load(model, method="balanceddit", **where)
    with pytest.raises(InputError, match="unknown preset 'papier'"):
        Editor.load(model, preset="papier", **where)
    with pytest.raises(InputError, match="no option 'alhpa'; nearest: alpha"):
        Editor.load(model, alhpa=0.2, **where)
    with pytest.raises(InputError, match="unknown distance 'cosin'; nearest: cosine"):
        Editor.load(model, distance="cosin", **where)
    with pytest.raises(InputError, match="alpha is 3"):
        Editor.load(model, alpha=3, **where)


def test_models_that_cannot_be_edited_are_refused_by_name() -> None:
    model, processor = tiny.llava()
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=20, d_model=8, d_ff=8, d_kv=4, num_layers=1, num_heads=2)
    )
    with pytest.raises(UnsupportedModelError, match="T5ForConditionalGeneration"):
        Editor.load(t5, processor=processor, layer="lm_head")
    with pytest.raises(UnsupportedModelError, match="Linear"):
        Editor.load(nn.Linear(2, 2), processor=processor, layer="x")
    with pytest.raises(ModelLoadError, match="no image processor"):
        Editor.load(model, processor=tiny.tokenizer(), layer=tiny.LLAVA_LAYER)


def test_a_store_of_another_model_layer_or_key_is_refused(make_editor: Any, tmp_path: Path) -> None:
    store = tmp_path / "edits"
    make_editor(edits=store, key="last").edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    with pytest.raises(StoreMismatchError, match="key"):
        make_editor(edits=store, key="mean")
    model, processor = tiny.llava()
    with pytest.raises(StoreMismatchError, match="layer"):
        Editor.load(
            model,
            processor=processor,
            layer="model.language_model.layers.1.mlp.up_proj",
            edits=store,
        )
    other, processor = tiny.llava(seed=1)
    with pytest.raises(StoreMismatchError, match="model"):
        Editor.load(other, processor=processor, layer=tiny.LLAVA_LAYER, edits=store, key="last")


def test_a_damaged_edit_is_named_and_the_others_work(make_editor: Any, tmp_path: Path) -> None:
    store = tmp_path / "edits"
    editor = make_editor(edits=store)
    bad = editor.edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    good = editor.edit(tiny.picture(2), "what?", "xyz", rephrasings=["it?"])
    file = next(store.rglob(f"{bad.id}*.safetensors"))
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 0xFF
    file.write_bytes(raw)
    again = make_editor(edits=store)
    assert [d.id for d in again.damaged] == [bad.id]
    assert bad.id in again.damaged[0].reason
    answer = again.ask(tiny.picture(2), "what?")
    assert (answer.text, answer.fired) == ("xyz", good.id)
    assert again.ask(PICTURE, "what?").fired != bad.id


def test_damage_found_when_an_edit_first_fires(
    make_editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "CHECKED_EDITS", 0)  # as in a large store
    store = tmp_path / "edits"
    editor = make_editor(edits=store)
    bad = editor.edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    good = editor.edit(tiny.picture(2), "what?", "xyz", rephrasings=["it?"])
    file = next(store.rglob(f"{bad.id}*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-5] + bytes([whole[-5] ^ 0xFF]) + whole[-4:])
    again = make_editor(edits=store)
    assert again.damaged == ()
    both = again.ask([PICTURE, tiny.picture(2)], "what?")
    assert both[0].fired != bad.id
    assert (both[1].text, both[1].fired) == ("xyz", good.id)
    assert [d.id for d in again.damaged] == [bad.id]
    assert "checksum" in again.damaged[0].reason
    assert again.ask(PICTURE, "what?").fired != bad.id, "and from then on"
    over = again.edit(PICTURE, "what?", "cd", rephrasings=["it?"])
    assert over.overlaps != bad.id
    file.write_bytes(whole)
    assert make_editor(edits=store).damaged == (), "restored"


def test_keys_in_half_precision(make_editor: Any, tmp_path: Path) -> None:
    store = tmp_path / "edits"
    editor = make_editor(edits=store, key_type="float16")
    edit = editor.edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    answer = make_editor(edits=store, key_type="float16").ask(PICTURE, "what?")
    assert (answer.text, answer.fired) == ("ab", edit.id)
    assert answer == editor.ask(PICTURE, "what?"), "the key in use is the one kept"
    with pytest.raises(StoreMismatchError, match="key_type is float16, not unset"):
        make_editor(edits=store)
    with pytest.raises(InputError, match="key_type"):
        make_editor(key_type="float8")


def test_tensors_are_read_when_an_edit_first_fires(
    make_editor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = make_editor(edits=tmp_path / "edits")
    first = editor.edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    editor.edit(tiny.picture(2), "what?", "xyz", rephrasings=["it?"])
    read: list[str] = []
    real = disk.DiskStore._tensors
    monkeypatch.setattr(
        disk.DiskStore, "_tensors", lambda *args: (read.append(args[1]), real(*args))[1]
    )
    again = make_editor(edits=tmp_path / "edits")
    again.ask(tiny.picture(9, 60), "who painted the long wall over there?")
    assert read == []
    for _ in range(2):
        assert again.ask(PICTURE, "what?").text == "ab"
    assert read == [first.id], "once, and only the one that fired"


def test_another_process_s_edits_are_taken_over(make_editor: Any, tmp_path: Path) -> None:
    one, two = make_editor(edits=tmp_path / "e"), make_editor(edits=tmp_path / "e")
    edit = one.edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    assert two.ask(PICTURE, "what?").fired == edit.id
    two.revert(edit.id)
    assert one.ask(PICTURE, "what?").fired is None


def test_explain_names_the_edit_and_what_the_model_would_say(make_editor: Any) -> None:
    editor = make_editor()
    base = editor.ask(PICTURE, "what?").text
    assert "No edit is held" in editor.explain(PICTURE, "what?").reason
    edit = editor.edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    inside = editor.explain(PICTURE, "what?")
    assert inside.answer.fired == edit.id
    assert inside.base_text == base
    assert f"Edit {edit.id} ('what?' → 'ab') fires" in inside.reason
    outside = editor.explain(tiny.picture(9, 60), "who painted the long wall over there?")
    assert outside.answer.fired is None
    assert outside.answer.text == outside.base_text
    assert "No edit fires" in outside.reason
    assert outside.neighbours[0].edit.id == edit.id
    assert not outside.neighbours[0].inside


def test_public_methods_are_documented() -> None:
    for name, member in inspect.getmembers(Editor):
        if not name.startswith("_"):
            assert inspect.getdoc(member), name


def test_inputs_requiring_grad_state_are_restored(make_editor: Any) -> None:
    editor = make_editor(steps=2)
    editor.model.train()
    editor.edit(PICTURE, "what?", "ab", rephrasings=["it?"])
    assert editor.model.training
    assert all(p.requires_grad for p in editor.model.parameters())
    assert torch.is_grad_enabled()


def test_the_former_name_of_edits_warns(editor: Any) -> None:
    edit = editor.edit(PICTURE, "what is this?", "ab")
    with pytest.warns(DeprecationWarning, match=r"Editor\.edits"):
        assert editor.list() == editor.edits() == [edit]
