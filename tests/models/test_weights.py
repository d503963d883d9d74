"""Checkpoints that are not whole: the file or weight is named, and what to do; nothing random is
ever loaded in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import tiny
from balancedit import Editor
from balancedit.errors import LayerError, ModelLoadError
from balancedit.layer.weights import float_weight
from balancedit.models import pocket
from balancedit.models.loading import load_model
from balancedit.models.pocket import convert

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8\nsize 12345\n"
)
UP = "layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny LLaVA's checkpoint."""
    model, processor = tiny.llava()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    return tmp_path


def refused(folder: Path) -> str:
    """What is said of a checkpoint, on one line."""
    with pytest.raises(ModelLoadError) as caught:
        Editor.load(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 600
    return said


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Rewrite the weights of a checkpoint."""
    file = folder / "model.safetensors"
    state = load_file(file)
    change(state)
    save_file({k: t.contiguous() for k, t in state.items()}, file, metadata={"format": "pt"})


def full_name(state: dict[str, torch.Tensor], ending: str) -> str:
    (name,) = (k for k in state if k.endswith(ending))
    return name


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_git_lfs_pointer_is_named_with_its_remedy(folder: Path, name: str) -> None:
    (folder / name).write_bytes(POINTER)
    said = refused(folder)
    assert f"{name}' is a Git LFS pointer" in said
    assert "git lfs pull" in said


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.5, 0.999])
def test_weights_that_were_cut_short(folder: Path, share: float) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    said = refused(folder)
    assert "model.safetensors' is" in said
    assert "empty" in said if not share else "cut short" in said
    assert "fetch it again" in said


def test_weights_whose_size_or_header_is_wrong(folder: Path) -> None:
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data + b"more")
    assert "longer than it says" in refused(folder)
    file.write_bytes(data[:8] + b"x" * (len(data) - 8))
    assert "model.safetensors' cannot be read" in refused(folder)
    file.write_bytes(b"<html>not found</html>" * 99)
    assert "no safetensors file" in refused(folder)
    file.write_bytes(data)
    Editor.load(folder)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_pickled_weights_that_were_cut_short(folder: Path, share: float) -> None:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    file = folder / "pytorch_model.bin"
    torch.save(state, file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert "pytorch_model.bin' is cut short" in refused(folder)


def test_a_part_of_the_weights_that_is_not_there(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    model, _ = tiny.llava()
    model.save_pretrained(folder, max_shard_size="50KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[1].unlink()
    assert shards[1].name in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "processor_config.json"])
@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe\x00"])
def test_a_settings_file_that_is_damaged(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    assert name in refused(folder)


def test_a_damaged_cache_of_the_bundled_model_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / convert.MODEL).mkdir()
    (tmp_path / convert.MODEL / "config.json").write_text('{"model_type": "pocket')
    monkeypatch.setattr(convert, "ensure", lambda adapter=None: tmp_path)
    with pytest.raises(
        ModelLoadError, match=r"damaged: .*config\.json.*Remove '.*it is made again"
    ):
        pocket.load()


# -- weights --------------------------------------------------------------------------------------


def test_a_weight_that_is_missing_is_named(folder: Path) -> None:
    changed(folder, lambda state: state.pop(full_name(state, f"language_model.model.{UP}")))
    said = refused(folder)
    assert f"lacks the weight 'model.language_model.{UP}'" in said
    assert "random" in said


def test_many_that_are_missing_are_counted(folder: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        for name in [k for k in state if "vision_tower" in k]:
            del state[name]

    changed(folder, change)
    assert "vision_tower" in (said := refused(folder))
    assert "more) of Llava" in said


def test_a_weight_that_nothing_takes_is_named(folder: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        name = full_name(state, f"language_model.model.{UP}")
        state[name.replace("layers.1", "layers.7")] = state[name].clone()

    changed(folder, change)
    said = refused(folder)
    assert f"{UP.replace('.1.', '.7.')}', which LlavaForConditionalGeneration has no place" in said


@pytest.mark.parametrize("what", ["weights", "config"])
def test_a_weight_of_another_shape_is_named(folder: Path, what: str) -> None:
    if what == "weights":

        def change(state: dict[str, torch.Tensor]) -> None:
            name = full_name(state, f"language_model.model.{UP}")
            state[name] = state[name][:-1]

        changed(folder, change)
        shapes = "(47, 32), the model's (48, 32)"
    else:
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["intermediate_size"] = 40
        (folder / "config.json").write_text(json.dumps(config))
        shapes = "(48, 32), the model's (40, 32)"
    said = refused(folder)
    if what == "weights":
        assert UP in said
        assert shapes in said
    assert "does not fit LlavaForConditionalGeneration" in said


def test_what_is_worked_out_or_tied_need_not_be_there_and_may(folder: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        prefix = full_name(state, f"language_model.model.{UP}").removesuffix(f"{UP}")
        state[f"{prefix}rotary_emb.inv_freq"] = torch.zeros(4)
        state[f"{prefix}layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
        state["vision_tower.vision_model.embeddings.position_ids"] = torch.arange(5)[None]

    changed(folder, change)
    Editor.load(folder)
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(config))
    changed(folder, lambda state: state.pop("language_model.lm_head.weight"))
    model: Any = Editor.load(folder).model
    assert model.lm_head.weight is model.get_input_embeddings().weight


# -- quantised by others --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_a_quantised_checkpoint_whose_library_is_missing(folder: Path, method: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, "bits": 4, "group_size": 16}
    (folder / "config.json").write_text(json.dumps(config))
    assert "cannot load" in refused(folder)


class WQLinear_GEMM(nn.Module):
    """A layer as AutoAWQ leaves it."""

    packed = "qweight"

    def __init__(self) -> None:
        super().__init__()
        self.in_features, self.out_features = 32, 48
        self.register_buffer(self.packed, torch.zeros(32, 6, dtype=torch.int32))


class HQQLinear(WQLinear_GEMM):
    """The same of HQQ's."""

    packed = "W_q"


@pytest.mark.parametrize(("kind", "by"), [(WQLinear_GEMM, "AWQ or GPTQ"), (HQQLinear, "HQQ")])
@pytest.mark.parametrize("named", [False, True])
def test_a_layer_that_others_have_packed_is_named(kind: Any, by: str, named: bool) -> None:
    model, processor = tiny.llava()
    parent, _, name = tiny.LLAVA_LAYER.rpartition(".")
    setattr(model.get_submodule(parent), name, kind())
    with pytest.raises(LayerError) as caught:
        load_model(model, processor=processor, layer=tiny.LLAVA_LAYER if named else None)
    said = str(caught.value)
    assert f"'{tiny.LLAVA_LAYER}' is a {kind.__name__}, quantised by {by}" in said
    assert "modules_to_not_convert" in said


def test_a_plain_layer_of_a_packed_model_can_be_edited() -> None:
    model, processor = tiny.llava()
    model.model.language_model.layers[1].mlp.up_proj = WQLinear_GEMM()
    assert load_model(model, processor=processor).layer == tiny.LLAVA_LAYER


def test_a_weight_that_bitsandbytes_cannot_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Int8Params(nn.Parameter):
        """As bitsandbytes names its own."""

    def failing(*_: Any) -> Any:
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr("transformers.integrations.bitsandbytes.dequantize_bnb_weight", failing)
    layer = nn.Linear(4, 4)
    layer.weight = Int8Params(torch.zeros(4, 4))
    with pytest.raises(LayerError, match=r"Linear as numbers \(no kernel image\); keep"):
        float_weight(layer)


@pytest.mark.parametrize(
    "index", [[], {"weight_map": []}, {"weight_map": {"a": 5}}, {"weight_map": {"a": ["b"]}}, "x"]
)
def test_an_index_of_weights_of_another_form_is_named(folder: Path, index: object) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model.safetensors.index.json' cannot be read" in refused(folder)


def test_a_shard_with_a_name_that_no_file_can_have(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"a": "x" * 300}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "is not there" in refused(folder)
