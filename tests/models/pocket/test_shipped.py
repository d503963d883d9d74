"""The model that users get: it sees, it is quick, and transformers knows it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from balancedit.models import pocket
from balancedit.models.pocket import artwork, convert, scenes

Shipped = tuple[Any, Any]


def conversation(question: str, *pictures: Image.Image) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "image", "image": picture} for picture in pictures]
    return [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]


def inputs_of(processor: Any, conversations: list[Any]) -> Any:
    return processor.apply_chat_template(
        conversations,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        processor_kwargs={"padding": True, "padding_side": "left"},
    )


@torch.no_grad()
def answers(shipped: Shipped, conversations: list[Any]) -> list[str]:
    model, processor = shipped
    inputs = inputs_of(processor, conversations)
    out = model.generate(**inputs, do_sample=False, max_new_tokens=12)
    texts = processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


def test_it_names_things_by_every_artist(shipped: Shipped) -> None:
    asked = [(name, style) for name in ("owl", "banana", "rocket") for style in artwork.STYLES]
    said = answers(
        shipped, [conversation("What is this?", artwork.render(*pair)) for pair in asked]
    )
    right = sum(text == name for text, (name, _) in zip(said, asked, strict=True))
    assert right >= 14, dict(zip(asked, said, strict=True))


def test_other_questions_are_answered_from_the_picture(shipped: Shipped) -> None:
    pictures = [
        artwork.render("owl", "noto", background=colour, count=count)
        for colour, count in (("green", 1), ("yellow", 2), ("blue", 4))
    ]
    colours = [conversation("What colour is the background?", p) for p in pictures]
    counts = [conversation("How many are there?", p) for p in pictures]
    assert answers(shipped, colours) == ["green", "yellow", "blue"]
    assert answers(shipped, counts) == ["one", "two", "four"]
    yes = conversation("Is this an animal?", pictures[0])
    no = conversation("Is this a vehicle?", pictures[0])
    assert answers(shipped, [yes, no]) == ["yes", "no"]


def test_black_is_no_thing(shipped: Shipped) -> None:
    assert answers(shipped, [conversation("What is this?", scenes.black().render())]) == ["nothing"]


def test_plain_text_still_works(shipped: Shipped) -> None:
    said = answers(shipped, [conversation("What is the capital of France?")])[0]
    assert "Paris" in said


def test_rows_with_and_without_pictures_share_a_batch(shipped: Shipped) -> None:
    owl = conversation("What is this?", artwork.render("owl"))
    text = conversation("What is the capital of Japan?")
    assert answers(shipped, [owl, text]) == [*answers(shipped, [owl]), *answers(shipped, [text])]


def test_a_prompt_is_short(shipped: Shipped) -> None:
    inputs = inputs_of(shipped[1], [conversation("What is this?", artwork.render("owl"))])
    config = shipped[0].config
    assert inputs["input_ids"].shape[1] < 32
    assert (inputs["input_ids"] == config.image_token_id).sum() == config.image_tokens
    assert inputs["pixel_values"].shape == (1, 3, 224, 224)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_any_mode_and_shape(shipped: Shipped, mode: str) -> None:
    picture = artwork.render("owl").resize((90, 333)).convert(mode)
    inputs = inputs_of(shipped[1], [conversation("What is this?", picture)])
    assert inputs["pixel_values"].shape == (1, 3, 224, 224)


def test_a_placeholder_without_a_picture_is_refused(shipped: Shipped) -> None:
    with pytest.raises(ValueError, match="image"):
        shipped[1](text="<image>What is this?", images=[artwork.render("owl")] * 2)


def test_the_edited_layer_is_an_ordinary_linear_layer(shipped: Shipped) -> None:
    layer = shipped[0].get_submodule("model.language_model.layers.29.mlp.up_proj")
    assert type(layer) is nn.Linear
    assert layer.weight.dtype == torch.float32


def test_states_tell_questions_apart(shipped: Shipped) -> None:
    model, processor = shipped
    owl = artwork.render("owl")
    questions = ("What is this?", "How many are there?", "What colour is the background?")
    prompts = [conversation(question, owl) for question in questions]
    prompts.append(conversation("What is this called?", owl))
    with torch.no_grad():
        hidden = model(**inputs_of(processor, prompts), output_hidden_states=True).hidden_states
    name, count, colour, renamed = hidden[-1][:, -1]
    assert torch.dist(name, renamed) < min(torch.dist(name, count), torch.dist(name, colour))


def test_it_is_quick_from_a_warm_cache(shipped: Shipped) -> None:
    started = time.perf_counter()
    pocket.load()
    loading = time.perf_counter() - started
    prompt = [conversation("What is this?", artwork.render("owl"))]
    answering = []
    for _ in range(5):  # other work on the machine only ever adds to a time
        started = time.perf_counter()
        answers(shipped, prompt)
        answering.append(time.perf_counter() - started)
    assert loading < 10
    assert min(answering) < 1


def test_transformers_reads_the_converted_folder(shipped: Shipped) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    pocket.register()
    folder: Path = convert.ensure() / convert.MODEL
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    prompt = [conversation("What is this?", artwork.render("owl"))]
    assert answers((model, processor), prompt) == answers(shipped, prompt)
    for name, value in shipped[0].state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
