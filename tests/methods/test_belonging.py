"""What a store is bound to: what decides answers, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from peft import LoraConfig, get_peft_model

import tiny
from balancedit import Editor
from balancedit.errors import StoreMismatchError
from balancedit.methods.belonging import belonging
from balancedit.models import identity
from balancedit.models.loading import load_model
from balancedit.store import Binding, DiskStore

KEYS = "model.language_model.layers.1.mlp.up_proj"
TARGETS = ["q_proj", "up_proj"]


def bound(model: Any, processor: Any, **how: Any) -> Binding:
    """What a store of this model's edits would be bound to."""
    editor = Editor.load(model, processor=processor, **how)
    return belonging(editor._loaded, editor._method)


def plain(family: str = "llava", **how: Any) -> Binding:
    model, processor = tiny.llava() if family == "llava" else tiny.blip2()
    return bound(model, processor, prompt=tiny.PROMPT[family], **how)


def adapted(name: str, targets: Any, *, fresh: bool = False, alpha: int = 8) -> tuple[Any, Any]:
    """A tiny model under a LoRA of that name, and its processor; fresh: one that adds nothing."""
    model, processor = tiny.llava()
    torch.manual_seed(5)
    config = LoraConfig(r=2, lora_alpha=alpha, target_modules=targets, init_lora_weights=fresh)
    return get_peft_model(model, config, adapter_name=name).eval(), processor


# -- what decides nothing -------------------------------------------------------------------------


def no_cache(model: Any) -> None:
    model.config.use_cache = model.config.get_text_config().use_cache = False


def padded_by_another(model: Any) -> None:
    model.config.pad_token_id = model.config.get_text_config().pad_token_id = 2


def newer_defaults(model: Any) -> None:
    model.config.a_default_of_tomorrow = model.config.vision_config.another = 1
    model.config.transformers_version = "99"


def another_name(model: Any) -> None:
    model.config._name_or_path = model.name_or_path = "elsewhere"


def other_decoding(model: Any) -> None:
    model.generation_config.repetition_penalty = 1.5


def moved(model: Any) -> None:
    model.to(torch.device("cpu"), torch.float32)


def offloaded(model: Any) -> None:
    cpu_offload(model, execution_device="cpu")


def not_concerned(model: Any) -> None:
    with torch.no_grad():
        model.get_submodule(KEYS).weight.add_(1)


@pytest.mark.parametrize(
    "change",
    [
        *(no_cache, padded_by_another, newer_defaults, another_name, other_decoding),
        *(moved, offloaded, not_concerned),
    ],
)
def test_what_decides_no_answer_is_not_bound(change: Callable[[Any], None]) -> None:
    model, processor = tiny.llava()
    change(model)
    assert plain().differences(bound(model, processor)) == []


def test_the_same_adapter_in_another_process_is_the_same() -> None:
    """Adapters are listed in sets, whose order changes from process to process, and have names."""
    one = bound(*adapted("default", TARGETS))
    for name, targets in (("other", TARGETS), ("default", r".*(q_proj|up_proj)")):
        again = bound(*adapted(name, targets))
        assert one.former is not None
        assert again.former is not None
        assert one.former().fingerprint != again.former().fingerprint, "the case at hand"
        assert one.differences(again) == []
    assert one.details["layer"] == tiny.LLAVA_LAYER, "as the plain model has it"


def test_an_adapter_that_adds_nothing_is_no_difference() -> None:
    assert plain().differences(bound(*adapted("default", TARGETS, fresh=True))) == []
    model, processor = adapted("default", TARGETS)
    assert [d[0] for d in plain().differences(bound(model, processor))] == ["model"]
    model.disable_adapter_layers()
    assert plain().differences(bound(model, processor)) == []


def test_what_an_adapter_adds_is_bound_wherever_it_is() -> None:
    one = bound(*adapted("default", ["q_proj"]))
    assert [d[0] for d in plain().differences(one)] == ["model"], "beside the edited layer"
    stronger = bound(*adapted("default", ["q_proj"], alpha=16))
    assert [d[0] for d in one.differences(stronger)] == ["model"]


def test_layers_for_keys_of_an_adapted_model_are_named_as_the_plain_models() -> None:
    one = plain(key_layer=KEYS)
    fresh = bound(*adapted("default", TARGETS, fresh=True), key_layer=KEYS)
    assert one.differences(fresh) == []
    assert [d[0] for d in one.differences(plain())] == ["model", "key_layer"]


# -- what decides ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [tiny.LLAVA_LAYER, KEYS])
def test_the_weights_of_edited_and_key_layer_are_bound(path: str) -> None:
    model, processor = tiny.llava()
    with torch.no_grad():
        model.get_submodule(path).weight[3, 4] += 1e-3
    different = plain(key_layer=KEYS).differences(bound(model, processor, key_layer=KEYS))
    assert [name for name, _, _ in different] == ["model"]


def test_another_type_of_weights_is_another_model() -> None:
    model, processor = tiny.llava()
    other = bound(model.to(torch.bfloat16), processor)
    assert [name for name, _, _ in plain().differences(other)] == ["model"]


def _another_template(processor: Any) -> dict[str, Any]:
    processor.chat_template = tiny.CHAT.replace("<assistant>", "Answer:<assistant>")
    return {}


def _a_system_message(processor: Any) -> dict[str, Any]:
    return {"system": "Be brief."}


def _a_prompt(processor: Any) -> dict[str, Any]:
    return {"prompt": "{image}Tell me: {question}\n"}


def _a_size(processor: Any) -> dict[str, Any]:
    processor.image_processor.size = {"shortest_edge": 24}
    processor.image_processor.crop_size = {"height": 24, "width": 24}
    return {}


def _a_mean(processor: Any) -> dict[str, Any]:
    processor.image_processor.image_mean = [0.5, 0.5, 0.5]
    return {}


def _a_spread(processor: Any) -> dict[str, Any]:
    processor.image_processor.image_std = [0.5, 0.5, 0.5]
    return {}


def _other_channels(processor: Any) -> dict[str, Any]:
    images = processor.image_processor
    images.image_mean, images.image_std = images.image_mean[::-1], images.image_std[::-1]
    return {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_another_template, ("prompt renders as", "<user>", "Answer:<assistant>")),
        (_a_system_message, ("prompt renders as", "Be brief.", "<user><image>×4What is this?")),
        (_a_prompt, ("prompt renders as", r"Tell me: What is this?\n", "?<assistant>")),
        (_a_size, ("pictures become", "1×3×16×16", "1×3×24×24", "<image>×4", "<image>×9")),
        (_a_mean, ("pictures become", "black 1×3×16×16 of -1.792 -1.752 -1.48;", "-1.86")),
        (_a_spread, ("pictures become", "-1.792 -1.752", "-0.963")),
        (_other_channels, ("pictures become", "-1.792 -1.752")),
    ],
)
def test_a_store_of_another_prompt_is_refused_with_both(
    change: Callable[[Any], dict[str, Any]], said: tuple[str, ...], tmp_path: Path
) -> None:
    model, processor = tiny.llava()
    Editor.load(model, processor=processor, edits=tmp_path)
    with pytest.raises(StoreMismatchError) as caught:
        Editor.load(model, processor=processor, edits=tmp_path, **change(processor))
    message = str(caught.value)
    assert not [word for word in said if word not in message], message
    assert "model" not in message.split("load ")[0], "the weights are the same"
    assert "\n" not in message
    assert len(message) < 1200
    with DiskStore.open(tmp_path) as store:
        assert store.edits() == {}, "without a model it opens all the same"


def test_a_store_of_another_format_string_is_refused(tmp_path: Path) -> None:
    model, processor = tiny.blip2()
    Editor.load(model, processor=processor, prompt=tiny.PROMPT["blip2"], edits=tmp_path)
    Editor.load(model, processor=processor, prompt=tiny.PROMPT["blip2"], edits=tmp_path)
    with pytest.raises(StoreMismatchError, match=r"renders as .*Question: What.*, not .*Q: What"):
        Editor.load(model, processor=processor, prompt="Q: {question} A: ", edits=tmp_path)


def test_the_day_that_a_template_writes_is_not_bound() -> None:
    model, processor = tiny.llava()
    processor.chat_template = "{{ strftime_now('%Y-%m-%d') }}" + tiny.CHAT
    loaded = load_model(model, processor=processor)
    assert loaded.rendered()["prompt"].startswith("'2025-01-01<user>")
    ids = loaded.prompter.inputs([tiny.picture(1)], ["a"])["input_ids"][0].tolist()
    text = processor.tokenizer.decode(ids)
    assert text.startswith(str(date.today())), "asked as ever"


def test_a_processor_that_refuses_the_probe_pictures_can_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, processor = tiny.llava()
    monkeypatch.setattr(identity, "_PICTURES", (((160, 120), "black"), ((1, 1), "white")))
    whole = type(processor.image_processor).preprocess

    def picky(self: Any, images: Any, *args: Any, **kwargs: Any) -> Any:
        flat = images
        while isinstance(flat, list):
            flat = flat[0]
        if getattr(flat, "width", 9) < 8:
            raise ValueError("too small")
        return whole(self, images, *args, **kwargs)

    monkeypatch.setattr(type(processor.image_processor), "preprocess", picky)
    Editor.load(model, processor=processor, edits=tmp_path)
    editor = Editor.load(model, processor=processor, edits=tmp_path)
    assert "1×1 white refused" in editor._loaded.rendered()["picture"]
