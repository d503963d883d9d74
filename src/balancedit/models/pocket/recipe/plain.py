"""SmolLM2 as it was before our training, for rewording questions in plain text.

What stands before the question in every prompt is read once and kept, a question's own tokens are
read once for all beams, and the search ends as soon as every beam has said its line. So a rewording
costs about as many steps as it has tokens.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import (
    AutoTokenizer,
    DynamicCache,
    LlamaConfig,
    LlamaForCausalLM,
    StoppingCriteria,
    StoppingCriteriaList,
)

from balancedit.inputs.text import listed
from balancedit.models.pocket import convert
from balancedit.models.quiet import quiet

#: A small model follows an example better than an instruction.
BEFORE = (
    "Reword each question without changing its meaning.\n"
    "Question: What brand is this car?\nReworded: Which company made this car?\n"
    "Question: Where was the photo taken?\nReworded: In which place was this photo made?\n"
    "Question:"
)
AFTER = " {question}\nReworded:"

_MOST = 24  # tokens of a rewording
_BEHIND = 0.3  # nats by which one may be less likely than the likeliest


def plain_rephraser() -> Callable[[str, int], list[str]]:
    """(question, n) -> up to max(4, n) rewordings, by beam search, the likeliest first."""
    folder = convert.ensure()
    model = _language_model(folder / convert.PLAIN)
    tokenizer = AutoTokenizer.from_pretrained(folder / convert.MODEL)
    before = _ids(tokenizer, BEFORE)
    with torch.no_grad():
        read: DynamicCache = model(before, use_cache=True, logits_to_keep=1).past_key_values

    @torch.no_grad()
    def rephrase(question: str, n: int) -> list[str]:
        beams = max(4, n)
        asked = _ids(tokenizer, AFTER.format(question=question))
        prompt, cache = torch.cat([before, asked], dim=1), copy.deepcopy(read)
        model(asked[:, :-1], past_key_values=cache, logits_to_keep=1)
        cache.batch_repeat_interleave(beams)
        said = _AllSaid(tokenizer, prompt.shape[1], beams)
        out = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            past_key_values=cache,
            do_sample=False,
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=_MOST,
            pad_token_id=tokenizer.eos_token_id,
            stopping_criteria=StoppingCriteriaList([said]),
            return_dict_in_generate=True,
            output_scores=True,
        )
        made = out.sequences[:, prompt.shape[1] :]
        texts = tokenizer.batch_decode(made, skip_special_tokens=True)
        behind = (out.sequences_scores[0] - out.sequences_scores) * made.shape[1]
        likely = [text for text, by in zip(texts, behind.tolist(), strict=True) if by <= _BEHIND]
        return [lines[0] for text in likely if (lines := listed(text))]

    return rephrase


class _AllSaid(StoppingCriteria):
    """Ends a beam search once each of its beams has come to the end of its first line: what follows
    could only drop some of them. prompt: tokens before what is said."""

    def __init__(self, tokenizer: Any, prompt: int, beams: int) -> None:
        self._tokenizer, self._prompt, self._beams = tokenizer, prompt, beams

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> Any:
        """(candidates,) bool, all alike. input_ids: (candidates, tokens), the likeliest first, of
        which as many as there are beams go on."""
        going = input_ids[: self._beams, self._prompt :]
        texts = self._tokenizer.batch_decode(going, skip_special_tokens=True)
        done = all("\n" in text.lstrip() for text in texts)
        return torch.full((len(input_ids),), done, device=input_ids.device)


def _ids(tokenizer: Any, text: str) -> torch.Tensor:
    """(1, tokens) ids; markers that a question writes are text."""
    ids: torch.Tensor = tokenizer(text, split_special_tokens=True, return_tensors="pt")["input_ids"]
    return ids


def _language_model(folder: Path) -> Any:
    """The language model in float32, without what `from_pretrained` spends on finding out what is
    known here."""
    config = LlamaConfig(**json.loads((folder / "config.json").read_text()))
    with quiet(), torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
    weights = load_file(folder / "model.safetensors")
    model.load_state_dict({k: v.float() for k, v in weights.items()}, strict=False, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config)  # it is in no file
    return model.eval()
