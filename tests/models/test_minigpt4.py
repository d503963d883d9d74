"""Building MiniGPT-4 from its parts: what fits is assembled, what does not is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import tiny
from balancedit import Editor
from balancedit.cli.main import main
from balancedit.errors import ModelLoadError
from balancedit.models.minigpt4.build import build, read_projection

QUESTION = "what is this?"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a tiny BLIP-2 and a tiny Llama, and a projection from one to the other."""
    folder = tmp_path_factory.mktemp("parts")
    eyes, processor = tiny.blip2()
    torch.nn.init.normal_(eyes.query_tokens)
    eyes.save_pretrained(folder / "blip2")
    processor.save_pretrained(folder / "blip2")
    tokenizer = tiny.tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=40,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        eos_token_id=2,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    tiny.livelier(LlamaForCausalLM(config)).save_pretrained(folder / "vicuna")
    tokenizer.save_pretrained(folder / "vicuna")
    held = {"llama_proj.weight": torch.randn(40, 24), "llama_proj.bias": torch.randn(40)}
    torch.save({"model": held, "epoch": 3}, folder / "nested.pth")
    torch.save(held, folder / "plain.pth")
    return folder


def built(parts: Path, out: Path, projection: str = "nested.pth") -> Path:
    return build(parts / "blip2", parts / "vicuna", parts / projection, out, dtype=torch.float32)


def test_what_was_built_loads_like_any_model_and_edits(parts: Path, tmp_path: Path) -> None:
    folder = built(parts, tmp_path / "minigpt4")
    assert list(folder.glob("*.safetensors"))
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    editor = Editor.load(str(folder), key="mean", lr=0.5, steps=60, alpha=0.9)
    assert editor.layer == "language_model.model.layers.1.mlp.up_proj"
    edit = editor.edit(tiny.picture(1), QUESTION, "ab", rephrasings=["what's it?"])
    assert edit.answer_after == "ab"
    assert editor.ask(tiny.picture(1), QUESTION).fired == edit.id


def test_every_part_is_the_one_given(parts: Path, tmp_path: Path) -> None:
    model: Any = Editor.load(str(built(parts, tmp_path / "m", "plain.pth"))).model
    eyes, _ = tiny.blip2()
    for name, value in eyes.vision_model.state_dict().items():
        assert torch.equal(model.vision_model.state_dict()[name], value)
    weight, bias = read_projection(parts / "plain.pth")
    assert torch.equal(model.llama_proj.weight, weight)
    assert torch.equal(model.llama_proj.bias, bias)
    words = LlamaForCausalLM.from_pretrained(parts / "vicuna")
    for name, value in words.state_dict().items():
        assert torch.equal(model.language_model.state_dict()[name], value)


def test_the_prompt_is_the_published_one(parts: Path, tmp_path: Path) -> None:
    editor = Editor.load(str(built(parts, tmp_path / "m")))
    ids = editor.inputs([tiny.picture(1)], [QUESTION])["input_ids"][0]
    image = editor.model.config.image_token_id
    assert int((ids == image).sum()) == editor.model.config.image_tokens == 4
    text = editor.processor.tokenizer.decode(ids)
    assert text.replace("<ImageHere>" * 4, "<ImageHere>") == (
        f"###Human: <Img><ImageHere></Img> {QUESTION} ###Assistant:"
    )


def test_an_answer_ends_where_the_model_writes_its_separator(parts: Path, tmp_path: Path) -> None:
    editor = Editor.load(str(built(parts, tmp_path / "m")))
    encode = editor.processor.tokenizer
    ids = torch.tensor([encode("a swan###Human:")["input_ids"]])
    assert editor._loaded.prompter.decode(ids) == ["a swan"]
    assert encode("#")["input_ids"][0] in editor.model.generation_config.eos_token_id
    assert editor._loaded.eos == encode.eos_token_id


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"llama_proj.weight": torch.zeros(40, 24)}, "lacks llama_proj.bias"),
        ({"model": {}}, "lacks llama_proj.weight and llama_proj.bias"),
        ([1, 2], "lacks llama_proj.weight and llama_proj.bias"),
        (
            {"llama_proj.weight": torch.zeros(40, 24), "llama_proj.bias": torch.zeros(24)},
            "do not belong together",
        ),
        (
            {"llama_proj.weight": torch.zeros(64, 24), "llama_proj.bias": torch.zeros(64)},
            "from 24 to 64 features, the Q-Former has 24 and the language model 40",
        ),
    ],
)
def test_a_projection_that_does_not_fit_is_refused(
    parts: Path, tmp_path: Path, content: Any, says: str
) -> None:
    torch.save(content, tmp_path / "p.pth")
    with pytest.raises(ModelLoadError, match=says):
        build(parts / "blip2", parts / "vicuna", tmp_path / "p.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Harmful:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("harm"),))


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"llama_proj.weight": Harmful()}, "p.pth")
    with pytest.raises(ModelLoadError, match="cannot be read"):
        read_projection(Path("p.pth"))
    assert not Path("harm").exists()


def test_missing_parts_are_named(parts: Path, tmp_path: Path) -> None:
    blip2, vicuna, projection = parts / "blip2", parts / "vicuna", parts / "plain.pth"
    with pytest.raises(ModelLoadError, match=r"no projection '.*none\.pth'"):
        build(blip2, vicuna, tmp_path / "none.pth", tmp_path / "out")
    with pytest.raises(ModelLoadError, match=r"cannot load the BLIP-2 checkpoint '.*none'"):
        build(tmp_path / "none", vicuna, projection, tmp_path / "out")
    with pytest.raises(ModelLoadError, match=r"cannot load the language model '.*none'"):
        build(blip2, tmp_path / "none", projection, tmp_path / "out")
    with pytest.raises(ModelLoadError, match=r"BLIP-2 checkpoint '.*' lacks .*qformer"):
        build(vicuna, vicuna, projection, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_not_written_over(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(ModelLoadError, match="exists already"):
        built(parts, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]


def test_the_command_builds_and_says_where(parts: Path, tmp_path: Path, capsys: Any) -> None:
    given = ["--blip2", parts / "blip2", "--vicuna", parts / "vicuna", "--dtype", "bfloat16"]
    given += ["--projection", parts / "plain.pth", "--out", tmp_path / "m", "--json"]
    assert main(["models", "build-minigpt4", *map(str, given)]) == 0
    assert json.loads(capsys.readouterr().out) == {"model": str(tmp_path / "m")}
    assert Editor.load(tmp_path / "m").model.llama_proj.weight.dtype == torch.bfloat16
    assert main(["models", "build-minigpt4", *map(str, given)]) == 1
    assert "exists already" in capsys.readouterr().err


def test_half_precision_keeps_the_q_former_in_float32_as_blip2_does(
    parts: Path, tmp_path: Path
) -> None:
    build(parts / "blip2", parts / "vicuna", parts / "plain.pth", tmp_path / "m", torch.float16)
    editor = Editor.load(tmp_path / "m", key="mean", lr=0.5, steps=60, alpha=0.9)
    assert editor.model.llama_proj.weight.dtype == torch.float16
    assert {p.dtype for p in editor.model.qformer.parameters()} == {torch.float32}
    assert editor.inputs([tiny.picture(1)], [QUESTION])["pixel_values"].dtype == torch.float16
    edit = editor.edit(tiny.picture(1), QUESTION, "ab", rephrasings=["what's it?"])
    assert edit.answer_after == "ab"
