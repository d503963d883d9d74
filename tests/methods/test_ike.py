"""IKE's own mechanism: what precedes a prompt, where it comes from, and that it fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tiny
from balancedit import Editor, Pictures
from balancedit.data.sample import EditSample, LocalityProbe
from balancedit.errors import InputError
from balancedit.methods import ike
from balancedit.methods.demonstrations import MIXES, Demonstrations, demonstration, fact

QUESTION = "what is it?"
A, B = tiny.picture(1), tiny.picture(2)


RECORD = EditSample(
    id="one",
    image=tiny.Drawn(5),
    question="What is this?",
    target="falcon",
    original_answer="owl",
    rephrases=("What would you call this?",),
    image_rephrases=(),
    locality=(
        LocalityProbe("similar", tiny.Drawn(6), "What is this?", "swan"),
        LocalityProbe("same-image", tiny.Drawn(5), "How many are there?", "two"),
    ),
    portability=(),
    category="animal",
    kind="name",
    shows="owl",
)


def test_demonstrations_are_worded_as_in_the_source() -> None:
    new = "New Fact: What is this? falcon\nPrompt: "
    assert fact("What is this?", "falcon") == new
    assert demonstration(RECORD, "copy") == f"{new}What is this? falcon\n\n"
    assert demonstration(RECORD, "update") == f"{new}What would you call this? falcon\n\n"
    assert demonstration(RECORD, "retain") == f"{new}How many are there? two\n\n"
    bare = replace(RECORD, locality=())
    assert demonstration(bare, "retain") == demonstration(RECORD, "update")


def test_thirty_two_are_mixed_four_twelve_sixteen() -> None:
    mix = MIXES["mixed"]
    taught = Counter(teaches for i in range(32) for teaches in mix[i % len(mix)])
    assert taught == {"copy": 4, "update": 12, "retain": 16}


class Embedder:
    """Embeds a question by the number in it, and counts how often it is asked to."""

    calls = 0

    def __call__(
        self, images: Sequence[Image.Image | None], questions: Sequence[str]
    ) -> torch.Tensor:
        self.calls += 1
        return torch.tensor([[float(q)] for q in questions])


NUMBERED = [replace(RECORD, question=str(n), locality=()) for n in (10, 3, 7)]


def test_the_nearest_come_last_and_the_index_is_made_once(tmp_path: Path) -> None:
    embed = Embedder()
    index = Demonstrations(NUMBERED, embed, ["model", "data"], tmp_path)
    numbers = [d.split()[2] for d in index.nearest(torch.tensor([4.0]), 2, "mixed")]
    assert numbers == ["7", "3"]
    again = Demonstrations(NUMBERED, embed, ["model", "data"], tmp_path)
    assert again.nearest(torch.tensor([4.0]), 2, "mixed") == index.nearest(
        torch.tensor([4.0]), 2, "mixed"
    )
    assert embed.calls == 1
    Demonstrations(NUMBERED, embed, ["another model", "data"], tmp_path)
    assert embed.calls == 2


def test_triples_teach_all_three_of_every_record(tmp_path: Path) -> None:
    index = Demonstrations(NUMBERED, Embedder(), ["model", "data"], tmp_path)
    seven, three = NUMBERED[2], NUMBERED[1]
    expected = [demonstration(r, t) for r in (seven, three) for t in ("copy", "update", "retain")]
    assert index.nearest(torch.tensor([4.0]), 2, "triples") == expected


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    embed = Embedder()
    Demonstrations(NUMBERED, embed, ["x"], tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(b"no tensors")
    index = Demonstrations(NUMBERED, embed, ["x"], tmp_path)
    assert embed.calls == 2
    assert len(index.nearest(torch.tensor([4.0]), 3, "mixed")) == 3


@pytest.fixture
def editing(make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes editors whose demonstrations are eleven records of random pictures."""
    records = [
        replace(RECORD, id=str(n), image=tiny.Drawn(50 + n), target=f"t{n}") for n in range(11)
    ]

    class Data:
        def load(self, part: str) -> list[EditSample]:
            return records

        def digest(self, part: str) -> str:
            return "tiny"

    monkeypatch.setattr("balancedit.data.catalogue.find", lambda name: Data())
    monkeypatch.setenv("BALANCEDIT_CACHE", str(tmp_path / "cache"))
    return lambda **options: make("ike", **({"demonstrations": 2} | options))


def prompts(editor: Editor, image: Any, question: str) -> str:
    """The text that the model gets."""
    ids = editor.inputs([image], [question])["input_ids"][0]
    text: str = editor.processor.tokenizer.decode(ids, skip_special_tokens=True)
    return text


@pytest.mark.kernels
def test_the_nearest_fact_precedes_the_prompt(editing: Any) -> None:
    editor = editing()
    before = prompts(editor, A, QUESTION)
    first, second = (editor.edit(p, QUESTION, a) for p, a in ((A, "ab"), (B, "xyz")))
    assert prompts(editor, A, "which?").count("New Fact") == 3
    assert f"New Fact: {QUESTION} ab\nPrompt: which?" in prompts(editor, A, "which?")
    assert f"New Fact: {QUESTION} xyz\nPrompt: which?" in prompts(editor, B, "which?")
    said = editor.ask([A, B, A], [QUESTION, QUESTION, "which?"])
    assert [x.fired for x in said] == [first.id, second.id, first.id]
    assert all(x.radius is None and x.distance is not None for x in said)
    assert "nearest" in editor.explain(A, QUESTION).reason
    editor.revert(first.id)
    assert "xyz" in prompts(editor, A, QUESTION)
    editor.revert(second.id)
    assert prompts(editor, A, QUESTION) == before


@pytest.mark.parametrize("family", ["llava"])
def test_an_index_belongs_to_the_prompt(editing: Any, tmp_path: Path) -> None:
    for files, mean in ((1, None), (1, None), (2, [0.5, 0.5, 0.5])):
        editor = editing()
        if mean is not None:
            editor.processor.image_processor.image_mean = mean
        editor.edit(A, QUESTION, "ab")
        assert len(list((tmp_path / "cache" / "ike").glob("*.safetensors"))) == files


@pytest.mark.kernels
@pytest.mark.parametrize("family", ["llava"])
def test_a_fact_about_several_pictures(editing: Any) -> None:
    editor = editing()
    both = Pictures(A, B)
    edit = editor.edit(both, QUESTION, "ab")
    asked = editor.ask([both, A, both], [QUESTION, QUESTION, "which?"])
    assert [x.fired for x in asked] == [edit.id] * 3
    here, *elsewhere = [x.distance for x in asked]
    assert here < 0.01 * min(elsewhere), "its own prompt, read in a batch of other rows"
    assert f"New Fact: {QUESTION} ab\nPrompt: which?" in prompts(editor, both, "which?")


@pytest.mark.kernels
def test_the_model_itself_is_untouched(editing: Any) -> None:
    editor = editing()
    plain = editor.inputs([A], [QUESTION])
    with torch.no_grad():
        base = editor.model(**plain).logits
        editor.edit(A, QUESTION, "ab")
        with editor:
            assert torch.equal(editor.model(**plain).logits, base)


def test_answers_come_back_from_a_store(editing: Any, tmp_path: Path) -> None:
    editor = editing(edits=tmp_path / "edits")
    edit = editor.edit(A, QUESTION, "ab")
    again = editing(edits=tmp_path / "edits")
    assert prompts(again, A, "which?") == prompts(editor, A, "which?")
    assert again.ask(A, QUESTION).text == editor.ask(A, QUESTION).text
    assert again.edits() == [edit]


def test_what_does_not_fit_is_left_out_farthest_first(editing: Any) -> None:
    editor = editing(demonstrations=11)
    edit = editor.edit(A, QUESTION, "ab")
    (warning,) = [w for w in edit.warnings if "fit" in w]
    kept = int(warning.split()[0])
    assert 0 < kept < 11
    assert prompts(editor, A, QUESTION).count("New Fact") == kept + 1
    assert editor.inputs([A], [QUESTION])["input_ids"].shape[1] + 32 <= 512
    wide = editing(demonstrations=kept)
    wide.edit(A, QUESTION, "ab")
    assert prompts(wide, A, QUESTION) == prompts(editor, A, QUESTION)


def test_wrong_settings_are_refused(make: Any) -> None:
    with pytest.raises(InputError, match="demonstrations is -1"):
        make("ike", demonstrations=-1)
    with pytest.raises(InputError, match="unknown mix 'tripels'; nearest: triples"):
        make("ike", mix="tripels")
    editor = make("ike", data="okedit-pokcet")
    with pytest.raises(InputError, match="nearest: okedit-pocket"):
        editor.edit(A, QUESTION, "ab")
    assert editor.edits() == []


def test_the_presets() -> None:
    assert ike.PRESETS["paper"].demonstrations == 32
