"""Plain-text conversations for training, which the untouched language model writes itself.

Given only the start of a user's turn, a chat model makes up a question; asked that, it makes up the
reply (the idea is Magpie's, Xu et al. 2024). Holding the trained model to the untouched one on
these keeps its plain text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

COUNT, BATCH = 512, 64
PROMPT_TOKENS, REPLY_TOKENS = 32, 48
#: First words of the question; most are those of the questions about pictures, which must not take
#: them over.
OPENERS = ("", "What is", "What", "Which", "How many", "How", "Name", "Tell me", "Is", "Why", "Who")
USER, REPLY = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"


@torch.no_grad()
def write(language_model: Any, tokenizer: Any, count: int = COUNT) -> list[str]:
    """`count` conversations of one question and its reply, in chat format.

    Sampled with torch's global seed; tokenizer pads on the left.
    """
    texts: list[str] = []
    while len(texts) < count:
        openings = [USER + OPENERS[number % len(OPENERS)] for number in range(BATCH)]
        asked = _continue(language_model, tokenizer, openings, PROMPT_TOKENS)
        starts = [start + text + REPLY for start, text in zip(openings, asked, strict=True)]
        replies = _continue(language_model, tokenizer, starts, REPLY_TOKENS)
        texts += [start + text for start, text in zip(starts, replies, strict=True)]
    return texts[:count]


def kept(
    language_model: Any, tokenizer: Any, file: Path, seed: int, count: int = COUNT
) -> list[str]:
    """The conversations that an earlier run left in `file`, or new ones, which are left there."""
    if not file.exists():
        torch.manual_seed(seed)
        file.write_text(json.dumps(write(language_model, tokenizer, count), indent=1))
    return list(json.loads(file.read_text()))


def _continue(language_model: Any, tokenizer: Any, texts: list[str], tokens: int) -> list[str]:
    """Sampled continuations of up to `tokens` tokens, without special tokens."""
    inputs = tokenizer(texts, padding=True, return_tensors="pt").to(language_model.device)
    out: Tensor = language_model.generate(
        **inputs,
        do_sample=True,
        top_p=0.95,
        max_new_tokens=tokens,
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    new = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.rstrip() for text in new]
