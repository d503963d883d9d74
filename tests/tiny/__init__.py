"""Tiny random vision-language models of real architectures, built from configuration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from balancedit.data.sample import EditSample, LocalityProbe
from balancedit.models.loading import LoadedModel, load_model

SPECIAL = ["<pad>", "<s>", "</s>", "<image>", "<user>", "<assistant>"]
CHAT = (
    "{% for m in messages %}<user>{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "{% endfor %}<assistant>"
)
LLAVA_LAYER = "model.language_model.layers.2.mlp.up_proj"
OPT_LAYER = "language_model.model.decoder.layers.2.fc2"
LAST = {"llava": LLAVA_LAYER, "blip2": OPT_LAYER}
BEFORE_LAST = {family: layer.replace(".2.", ".1.") for family, layer in LAST.items()}
PROMPT = {"llava": None, "blip2": "Question: {question} Answer: "}


def tokenizer(*special: str, **named: str) -> PreTrainedTokenizerFast:
    """Every byte a token, no file needed. special: more special tokens; named: such that the
    tokenizer also knows by a name, like ``boi_token="<start_of_image>"``."""
    vocab = {t: i for i, t in enumerate(SPECIAL)}
    for token in (*sorted(pre_tokenizers.ByteLevel.alphabet()), *special, *named.values()):
        vocab[token] = len(vocab)
    raw = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<image>", "<user>", "<assistant>", *special],
        **({"extra_special_tokens": {"image_token": "<image>"} | named} if named else {}),
    )


def _image_processor(kind: str, side: int):
    from transformers import BlipImageProcessorPil, CLIPImageProcessorPil

    if kind == "clip":
        return CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        )
    return BlipImageProcessorPil(size={"height": side, "width": side})


def llava(seed: int = 0) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """A LLaVA of 3 blocks, width 32, 4 image tokens."""
    torch.manual_seed(seed)
    tok = tokenizer()
    config = LlavaConfig(
        text_config=LlamaConfig(
            vocab_size=len(tok),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        ),
        vision_config=CLIPVisionConfig(
            hidden_size=24,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
        ),
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        image_seq_length=4,
    )
    model = LlavaForConditionalGeneration(config).eval()
    processor = LlavaProcessor(
        image_processor=_image_processor("clip", 16),
        tokenizer=tok,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=CHAT,
    )
    return livelier(model), processor


def blip2(seed: int = 0) -> tuple[Blip2ForConditionalGeneration, Blip2Processor]:
    """A BLIP-2 OPT of 3 blocks, width 32, 4 query tokens."""
    torch.manual_seed(seed)
    tok = tokenizer()
    config = Blip2Config(
        vision_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 8,
        },
        qformer_config={
            "hidden_size": 24,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "encoder_hidden_size": 24,
            "cross_attention_frequency": 1,
        },
        text_config={
            "model_type": "opt",
            "vocab_size": len(tok),
            "hidden_size": 32,
            "word_embed_proj_dim": 32,
            "ffn_dim": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "max_position_embeddings": 512,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 0,
        },
        num_query_tokens=4,
        image_token_index=tok.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config).eval()
    processor = Blip2Processor(
        image_processor=_image_processor("blip", 16), tokenizer=tok, num_query_tokens=4
    )
    return livelier(model), processor


def load(family: str, layer: str | None = None, seed: int = 0) -> LoadedModel:
    """A fresh model of a family, ready to be edited; at its last block unless another is named."""
    model, processor = llava(seed) if family == "llava" else blip2(seed)
    return load_model(
        model, processor=processor, layer=layer or LAST[family], prompt=PROMPT[family]
    )


def livelier(model):
    """Random weights of the usual 0.02 make every prompt look alike; widen them."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1 and "embed_positions" not in name:
                p.mul_(6)
    return model


def picture(seed: int, side: int = 24) -> Image.Image:
    """A random picture."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))


@dataclass(frozen=True)
class Drawn:
    """A data set's reference to `picture(seed)`."""

    seed: int

    def open(self) -> Image.Image:
        return picture(self.seed)

    def describe(self) -> dict[str, int]:
        return {"seed": self.seed}


def sample(number: int, target: str) -> EditSample:
    """An edit of a random picture, with a probe of each measure."""
    return EditSample(
        id=f"s{number}",
        image=Drawn(number),
        question="what is it?",
        target=target,
        original_answer="zz",
        rephrases=("which is it?",),
        image_rephrases=(Drawn(200 + number),),
        locality=(
            LocalityProbe(
                "similar", Drawn(100 + number), "what is it?", None, shows=f"thing {number + 1}"
            ),
            LocalityProbe("no-image", None, "what is it?", None),
        ),
        portability=(),
        category="things",
        kind="name",
        shows=f"thing {number}",
    )
