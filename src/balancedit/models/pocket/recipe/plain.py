"""SmolLM2 as it was before our training, for rewording questions in plain text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from balancedit.inputs.text import listed
from balancedit.models.pocket import convert
from balancedit.models.quiet import quiet

#: A small model follows an example better than an instruction.
_PROMPT = (
    "Reword each question without changing its meaning.\n"
    "Question: What brand is this car?\nReworded: Which company made this car?\n"
    "Question: Where was the photo taken?\nReworded: In which place was this photo made?\n"
    "Question: {question}\nReworded:"
)


def plain_rephraser() -> Callable[[str, int], list[str]]:
    """(question, n) -> up to n rewordings, by beam search, the likeliest first."""
    folder = convert.ensure()
    with quiet():
        model: Any = LlamaForCausalLM.from_pretrained(folder / convert.PLAIN, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder / convert.MODEL)

    @torch.no_grad()
    def rephrase(question: str, n: int) -> list[str]:
        text = _PROMPT.format(question=question)  # markers that the question writes are text
        inputs = tokenizer(text, split_special_tokens=True, return_tensors="pt")
        out = model.generate(
            **inputs,
            do_sample=False,
            num_beams=max(4, n),
            num_return_sequences=max(4, n),
            max_new_tokens=24,
        )
        texts = tokenizer.batch_decode(
            out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return [lines[0] for text in texts if (lines := listed(text))]

    return rephrase
