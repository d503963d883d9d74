"""BLIP-2 OPT-2.7B at full size, with random weights: does it edit, route and undo, how long does
that take and how much memory.

    python studies/full_size.py --device cuda            # bfloat16, 7.5 GB of weights
    python studies/full_size.py --device cpu             # the same in main memory, minutes
    python studies/full_size.py --tiny                   # the same steps on a tiny model

Architecture and sizes are those of `Salesforce/blip2-opt-2.7b`; the weights are random, so what it
says means nothing, distances say little (hence an α that keeps the radius near the reworded
question), and no file is needed. Its tokenizer is the tests' byte-level one. The exit code is 1
when the edit is not learned, fires where it must not, or is not undone bit for bit.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch
import transformers
import typer
from rich.console import Console
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

import balancedit
from balancedit import Editor
from balancedit.files.compact import write_lines
from balancedit.models.loading import dtype_named

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import tiny

QUESTION, REWORDED = "What computer brand is this?", "What brand of computer is this?"
OTHER, TARGET = "Who painted the long wall over there, and when was that?", "hp"
Timed = Callable[[str, Callable[[], Any]], Any]


def full_size(device: str, dtype: torch.dtype, seed: int) -> tuple[Any, Any]:
    """A model of the published sizes and a processor of the published picture size."""
    tokenizer = tiny.tokenizer()
    config = Blip2Config(
        vision_config={
            "hidden_size": 1408,
            "intermediate_size": 6144,
            "num_hidden_layers": 39,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
            "initializer_range": 0.02,  # the published 1e-10 would leave a random model blind
        },
        qformer_config={
            "vocab_size": 30522,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "encoder_hidden_size": 1408,
            "cross_attention_frequency": 2,
        },
        text_config={
            "model_type": "opt",
            "vocab_size": 50304,  # 50,272 and the image token, padded to a multiple of 64
            "hidden_size": 2560,
            "word_embed_proj_dim": 2560,
            "ffn_dim": 10240,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "max_position_embeddings": 2048,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        num_query_tokens=32,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(seed)
    with torch.device(device):
        model = Blip2ForConditionalGeneration._from_config(config, dtype=dtype)
        torch.nn.init.normal_(model.query_tokens, std=0.02)
    processor = Blip2Processor(
        image_processor=BlipImageProcessorPil(size={"height": 224, "width": 224}),
        tokenizer=tokenizer,
        num_query_tokens=32,
    )
    return model.eval(), processor


def full_size_llava(device: str, dtype: torch.dtype, seed: int) -> tuple[Any, Any]:
    """A LLaVA of the sizes of `llava-hf/llava-1.5-7b-hf`, random weights, and its processor."""
    tokenizer = tiny.tokenizer()
    config = LlavaConfig(
        text_config=LlamaConfig(
            vocab_size=32064,
            hidden_size=4096,
            intermediate_size=11008,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=32,
            max_position_embeddings=4096,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        vision_config=CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=336,
            patch_size=14,
            projection_dim=768,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=576,
    )
    torch.manual_seed(seed)
    with torch.device(device):
        model = LlavaForConditionalGeneration._from_config(config, dtype=dtype)
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=tiny.CHAT,
    )
    return model.eval(), processor


def peak_memory(device: str) -> int:
    """Bytes at the most so far: of the GPU where the model is on one, else of the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def logits(editor: Editor, picture: Any, question: str) -> torch.Tensor:
    """The raw model's logits of one prompt, edits in force."""
    with torch.no_grad(), editor:
        return editor.model(**editor.inputs([picture], [question])).logits


def story(editor: Editor, timed: Timed) -> tuple[Any, dict[str, bool]]:
    """Ask, edit, ask, revert. Returns the edit's record and what held."""
    seen, elsewhere = tiny.picture(1, side=320), tiny.picture(3, side=480)
    base = logits(editor, seen, QUESTION)
    timed("ask, no edit held", lambda: editor.ask(seen, QUESTION, max_new_tokens=8))
    edit = timed("edit", lambda: editor.edit(seen, QUESTION, TARGET, rephrasings=[REWORDED]))
    same = timed("ask, the edit fires", lambda: editor.ask(seen, QUESTION, max_new_tokens=8))
    other = timed("ask, nothing fires", lambda: editor.ask(elsewhere, OTHER, max_new_tokens=8))
    changed = logits(editor, seen, QUESTION)
    batch = editor.ask([seen, elsewhere], [QUESTION, OTHER], max_new_tokens=8)
    timed("revert", lambda: editor.revert(edit.id))
    held = {
        "learned, said by free generation": edit.answer_after == TARGET,
        "fires on its own query": same.fired == edit.id and same.text == TARGET,
        "does not fire on another picture and question": other.fired is None,
        "a batch routes row by row": [a.fired for a in batch] == [edit.id, None],
        "changes the logits while held": not torch.equal(changed, base),
        "undone bit for bit": torch.equal(logits(editor, seen, QUESTION), base),
    }
    return edit, held


def run(
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="Type of the weights.")] = "bfloat16",
    preset: Annotated[str, typer.Option(help="BalancEdit's settings.")] = "paper/blip2-opt",
    small: Annotated[bool, typer.Option("--tiny", help="A tiny model, to try this.")] = False,
    alpha: Annotated[float, typer.Option(help="Weight of the positive distance.")] = 0.9,
    lr: Annotated[
        float | None, typer.Option(help="Adam step size; the preset's, 0.05 for the tiny model.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random weights.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")] = None,
) -> None:
    """Build, edit, ask, undo; print times and peak memory."""
    seconds: dict[str, float] = {}

    def timed(name: str, do: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        made = do()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds[name] = round(time.perf_counter() - started, 3)
        Console(stderr=True).print(f"{name}: {seconds[name]} s")  # it takes minutes on a CPU
        return made

    make = tiny.blip2 if small else lambda: full_size(device, dtype_named(dtype), seed)
    model, processor = timed("build", make)
    model.to(device, dtype_named(dtype))
    options = {"alpha": alpha}
    if lr is not None or small:
        options["lr"] = 0.05 if lr is None else lr
    editor = Editor.load(model, processor=processor, preset=preset, **options)
    memory = {"model, as loaded": peak_memory(device)}
    edit, held = story(editor, timed)
    memory["at the most"] = peak_memory(device)
    found = {
        "model": "tiny BLIP-2" if small else "BLIP-2 OPT-2.7B, random weights",
        "parameters": sum(p.numel() for p in model.parameters()),
        "layer": editor.layer,
        "dtype": dtype,
        "preset": preset,
        "options": options,
        "steps": edit.steps,
        "loss": edit.loss,
        "radius": edit.radius,
        "d_positive": edit.d_positive,
        "d_negative": edit.d_negative,
        "seconds": seconds,
        "bytes": memory,
        "held": held,
        "machine": torch.cuda.get_device_name(device)
        if device.startswith("cuda")
        else f"{platform.machine()} CPU, {torch.get_num_threads()} threads",
        "versions": {
            "balancedit": balancedit.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    Console().print_json(json.dumps(found))
    if out is not None:
        write_lines(out, found)
    if not all(held.values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(run)
