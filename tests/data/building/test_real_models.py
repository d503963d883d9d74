"""The builder with real models: SmolLM2 behind a server of its own, and a diffusers pipeline.

Both are far too small to do the task: what counts is that the build runs to its end, keeps what
they said, and says of every fact whether it is complete or why not.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import replay

from balancedit.cli.main import main
from balancedit.data.building import pictures
from balancedit.data.building.models import DiffusersPainter
from balancedit.data.building.steps import PROMPTS
from balancedit.data.check import check
from balancedit.errors import DataError
from balancedit.inputs.images import open_image

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Stable Diffusion in a directory."""
    diffusers = pytest.importorskip("diffusers")
    import torch
    from tokenizers import pre_tokenizers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=20,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    made = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=2,
            sample_size=16,
        ),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(
            vocab={w: i for i, w in enumerate(words)}, merges=[], model_max_length=77
        ),
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=(4, 8),
            layers_per_block=1,
            sample_size=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=16,
            norm_num_groups=2,
            attention_head_dim=2,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    path = tmp_path_factory.mktemp("pipelines") / "tiny"
    made.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def smollm() -> Iterator[replay.Endpoint]:
    """SmolLM2, the default model's language model before our training, behind an endpoint."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    from balancedit.models.pocket import convert
    from balancedit.models.pocket.sources import quiet

    folder = convert.ensure()
    with quiet():
        model: Any = LlamaForCausalLM.from_pretrained(folder / convert.PLAIN, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / convert.MODEL)
    one_at_a_time = threading.Lock()

    @torch.no_grad()
    def write(messages: replay.Messages, again: int) -> str:
        turns = (f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
        chat = "".join(turns) + "<|im_start|>assistant\n"
        inputs = tokenizer(chat, return_tensors="pt")
        with one_at_a_time:
            torch.manual_seed(again)
            out = model.generate(
                **inputs, max_new_tokens=40, do_sample=True, temperature=0.7, top_p=0.9
            )
        return str(
            tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        )

    made = replay.Endpoint(write)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def test_a_pipeline_paints_by_seed(pipeline: Path) -> None:
    painter = DiffusersPainter(str(pipeline))
    first, again, other = (painter.paint("a dog", seed) for seed in (1, 1, 2))
    assert first == again != other
    assert open_image(first).size == (16, 16)
    pictures.check(first)
    with pytest.raises(DataError, match="cannot be loaded"):
        DiffusersPainter(str(pipeline / "nothing"))


def test_a_build_with_real_models_runs_to_its_end(
    okvqa: Path, smollm: replay.Endpoint, pipeline: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    command = ["data", "build-okedit", okvqa, "--out", out, "--json", "--rephrases", 1]
    command += ["--images", 2, "--attempts", 2, "--llm", "smollm2", "--llm-base-url", smollm.url]
    command += ["--image-model", pipeline]
    assert main(list(map(str, command))) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["complete"] + len(found["set_aside"]) == 20
    rows = [json.loads(r) for r in (out / "build" / "rows.jsonl").read_text().splitlines()]
    assert len([r for r in rows if "reply" in r]) == len(smollm.calls)
    assert {r["step"] for r in rows if "reply" in r} <= set(PROMPTS)
    painted = [r for r in rows if r["step"] == "images"]
    assert painted, "no fact came as far as its pictures"
    for row in painted:
        file = out / (row["file"] if "rejected" in row else row["value"]["file"])
        assert open_image(file).size == (16, 16)
    for reason in found["set_aside"].values():
        assert "replies rejected" in reason
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"] == found["complete"]
    _, parts = check("jsonl", out)
    assert len(parts["eval"].contents.samples) == found["complete"]
    assert not [p for p in parts["eval"].problems if p.fatal]
