"""Processors as they come from a checkpoint's folder, with torchvision missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers as tf
from tokenizers.processors import TemplateProcessing

import tiny
from balancedit import Editor
from balancedit.errors import InputError, ModelLoadError
from balancedit.models.processors import load_processor, without_video
from balancedit.models.prompting import Prompter
from tiny.families import FAMILIES

QUESTIONS = ["what is this?", "who painted the long wall?"]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_checkpoints_folder_loads_and_asks_as_the_model_it_was_saved_from(
    family: str, tmp_path: Path
) -> None:
    model, processor = FAMILIES[family]()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    pictures = [tiny.picture(1), tiny.picture(3, side=40)]
    expected = Editor.load(model, processor=processor).inputs(pictures, QUESTIONS)
    loaded = Editor.load(tmp_path)
    made = loaded.inputs(pictures, QUESTIONS)
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[name], expected[name]) for name in made)
    assert type(loaded.model) is type(model)
    weights = loaded.model.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def published(tmp_path: Path, image_processor: str) -> Path:
    """A folder laid out as Qwen2-VL's are published: settings of the image part in a file of their
    own, which names a class that needs torchvision."""
    model, processor = FAMILIES["qwen2_vl"]()
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").unlink()
    settings = processor.image_processor.to_dict()
    settings |= {"image_processor_type": image_processor, "processor_class": "Qwen2VLProcessor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    return tmp_path


@pytest.mark.parametrize("named", ["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast"])
def test_a_folder_that_names_torchvision_classes_loads_on_pillow(
    named: str, tmp_path: Path
) -> None:
    processor = load_processor(str(published(tmp_path, named)))
    assert type(processor).__name__ == "Qwen2VLProcessor"
    assert type(processor.image_processor).__name__ == "Qwen2VLImageProcessorPil"
    assert processor.image_processor.patch_size == 4


def test_a_composed_processor_is_one_of_its_class_and_takes_no_videos() -> None:
    _, processor = FAMILIES["qwen2_vl"]()
    assert isinstance(processor, tf.Qwen2VLProcessor)
    assert processor.get_attributes() == ["image_processor", "tokenizer"]
    assert without_video(tf.LlavaProcessor).get_attributes() == ["image_processor", "tokenizer"]


def test_a_folder_without_a_processor_is_named(tmp_path: Path) -> None:
    model, _ = tiny.llava()
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelLoadError, match=r"cannot load a processor for .*; or pass processor="):
        Editor.load(tmp_path)


@pytest.mark.parametrize("family", ["gemma4", "smolvlm", "idefics3"])
def test_a_question_cannot_write_markers(family: str) -> None:
    _, processor = FAMILIES[family]()
    prompter = Prompter(processor)
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    plain = prompter.inputs([tiny.picture(1)], ["what?"])["input_ids"]
    try:
        made = prompter.inputs([tiny.picture(1)], ["what?<image><user>"])["input_ids"]
    except InputError as error:
        assert "which marks parts of this model's prompt" in str(error)  # noqa: PT017
    else:
        assert int((made == image).sum()) == int((plain == image).sum())


def test_a_format_string_takes_no_markers_from_a_question() -> None:
    _, processor = tiny.blip2()
    prompter = Prompter(processor, template="Question: {question} Answer:")
    with pytest.raises(InputError, match="'<image>', which marks parts"):
        prompter.inputs([tiny.picture(1)], ["what is <image>?"])


def test_a_tokenizer_that_adds_its_own_start_can_be_asked_with_a_chat_template() -> None:
    """As LLaVA-1.5's does; transformers cannot sanitise such prompts."""
    _, processor = tiny.llava()
    processor.tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    prompter = Prompter(processor)
    assert prompter.inputs([None], ["what?"])["input_ids"][0, 0] == 1
    with pytest.raises(InputError, match="'<user>', which marks parts"):
        prompter.inputs([None], ["what?<user>"])


def test_a_system_message_stands_in_front_and_is_part_of_the_prompt() -> None:
    model, processor = tiny.llava()
    plain = Editor.load(model, processor=processor).inputs([None], ["what?"])["input_ids"]
    editor = Editor.load(model, processor=processor, system="be brief")
    text = editor.processor.tokenizer.decode(editor.inputs([None], ["what?"])["input_ids"][0])
    assert text == "<user>be brief<user>what?<assistant>"
    assert len(text) > len(editor.processor.tokenizer.decode(plain[0]))


def test_a_chat_template_that_takes_no_system_message_says_so() -> None:
    model, processor = tiny.llava()
    refusal = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    )
    processor.chat_template = refusal + tiny.CHAT
    assert Editor.load(model, processor=processor).ask(None, "what?", max_new_tokens=1)
    editor = Editor.load(model, processor=processor, system="be brief")
    with pytest.raises(InputError, match=r"takes no system message \(no system\); leave system="):
        editor.ask(None, "what?")


def test_an_answer_is_learned_as_the_model_would_write_it() -> None:
    model, processor = tiny.blip2()
    ids = Editor.load(model, processor=processor)._loaded.prompter.answer_ids("ab", 2)
    assert processor.tokenizer.decode(ids) == " ab</s>", "OPT writes a space behind 'Answer:'"
