"""Decode steps made ahead of their calls, in the pass that decides whether an edit fires.

Whether the untouched model gives the old answer is found out by a pass over that answer's tokens
(`layer/old_answers.py`), which costs about what a decode step does: on a few rows both come to
reading the model's weights once. So where an edit is likely to fire, the same pass makes the edited
answer's next steps: the untouched prompts with the old answers' tokens, and the edited ones with
the tokens they will likely be given, are rows of one batch. The caller is given the edited first
token only when the decision stands, and then chooses its tokens as ever. As long as its calls are
those very steps, they are answered from here; at the first that is anything else, what is left is
forgotten, and the call is made.

Letters: B = rows of the call, R = answers asked about, N = steps made ahead, D = width of a head,
V = vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from balancedit.layer.decisions import AnswerIds
from balancedit.layer.old_answers import (
    Asked,
    PromptCall,
    predicting,
    read_on,
    read_once,
    which_given,
)
from balancedit.layer.prompts import ANSWER_TOKENS

#: What may be said of a step beside its tokens; a step of one token has no logits but its own.
_SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "use_cache": (True,),
    "return_dict": (True,),
    "logits_to_keep": (0, 1),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
}
_OUTPUTS = {"logits", "past_key_values"}


def extends(call: PromptCall) -> bool:
    """Whether steps can be made ahead behind a call: it was given a cache that simply
    grows, and gave nothing but logits and that cache."""
    cache = call.given.get("past_key_values")
    return (
        type(cache) is DynamicCache
        and not getattr(cache, "offloading", False)
        and all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers)
        and getattr(call.out, "past_key_values", None) is cache
    )


@dataclass
class StepsAhead:
    """Decode steps behind a call's prompts.

    described: their tensors by argument, ``input_ids`` (B, N) and masks (B, prompt + N) among them.
    cache, filled: the cache that the next step goes on from, and what fills it. grown: of every
    layer, the steps' keys and values (B, heads, N, D). out: their output, of logits (B, N, V). at:
    the next step.
    """

    call: PromptCall
    described: Mapping[str, torch.Tensor]
    cache: DynamicCache
    filled: Sequence[tuple[torch.Tensor, int | None]]
    grown: Sequence[tuple[torch.Tensor, torch.Tensor]]
    out: Any
    at: int = 0

    @property
    def left(self) -> bool:
        """Whether there are steps that were not asked for yet."""
        return self.at < self.out.logits.shape[1]

    def asked_for(self, module: nn.Module, given: Mapping[str, Any]) -> Any:
        """What a call with these arguments gives, if it is the next step: the output, the cache
        grown. None otherwise, and the cache is as it was."""
        if module is not self.call.module or torch.is_grad_enabled() or not self.left:
            return None
        if given.get("past_key_values") is not self.cache or not self._goes_on():
            return None
        if not all(self._says(name, value) for name, value in given.items()):
            return None
        if not (self.described.keys() & self.call.given.keys() | {"input_ids"}) <= given.keys():
            return None
        step = slice(self.at, self.at + 1)
        for i, (keys, values) in enumerate(self.grown):
            self.cache.update(keys[:, :, step], values[:, :, step], i)
        self.filled = _filled(self.cache)
        self.at += 1
        return type(self.out)(logits=self.out.logits[:, step], past_key_values=self.cache)

    def _goes_on(self) -> bool:
        """Whether the cache is filled as it was."""
        now = _filled(self.cache)
        return len(now) == len(self.filled) and all(
            a is b and version == before
            for (a, version), (b, before) in zip(now, self.filled, strict=True)
        )

    def _says(self, name: str, value: Any) -> bool:
        """Whether one argument of a call is what it is in the next step."""
        if name == "past_key_values":
            return True
        if isinstance(value, torch.Tensor):
            expected = self.described.get(name)
            return expected is not None and _same(value, self._now(name, expected))
        return name in _SETTINGS and value in _SETTINGS[name]

    def _now(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """What describes the next step, of what describes all of them."""
        if name == "attention_mask":
            return value[:, : self.call.prompt.shape[1] + self.at + 1]
        return value[..., self.at : self.at + 1]


def steps_ahead(
    call: PromptCall,
    edited: PromptCall,
    untouched: DynamicCache,
    pairs: Sequence[Asked],
    drafts: Sequence[AnswerIds],
) -> tuple[dict[int, set[AnswerIds]], StepsAhead | None]:
    """Which of the answers in `pairs` the untouched model gives, by row, and the steps that follow
    if the edited rows go on as is likely: one pass over both.

    call: the prompts read by the untouched model, `untouched` the cache that it filled; edited: the
    same call through the edited layer; drafts: by row, the answer it may come to, its end included
    (of a longer one than `ANSWER_TOKENS`, the beginning).
    To be made where calls are decode steps of B + R rows, the first B edited.
    """
    cache, ends, after = edited.out.past_key_values, call.ends, edited.ends
    assert ends is not None
    assert after is not None
    likely = [
        draft[:ANSWER_TOKENS][:-1] if len(draft) > 1 and draft[0] == token else (token,)
        for token, draft in zip(after.argmax(-1).tolist(), drafts, strict=True)
    ]
    n, device = len(likely), call.prompt.device
    read, at = read_once(pairs)
    rows = torch.tensor([*range(n), *(row for row, _ in read)], device=device)
    behind = [*likely, *(answer[:-1] for _, answer in read)]
    filled = _filled(cache)
    both = _side_by_side(cache, untouched, rows[n:])
    with torch.no_grad():
        out, described = read_on(call, both, rows, behind)
    said = predicting(ends, out.logits[n:][at], pairs)
    given = which_given([row for row, _ in pairs], pairs, said)
    if out.keys() != _OUTPUTS:
        return given, None
    steps, end = min(map(len, likely)), call.prompt.shape[1]
    made = {name: value[..., :n, :] for name, value in described.items()}
    made["input_ids"] = torch.tensor([tokens[:steps] for tokens in likely], device=device)
    grown = [
        (layer.keys[:n, :, end : end + steps], layer.values[:n, :, end : end + steps])
        for layer in both.layers
    ]
    first = type(out)(logits=out.logits[:n, :steps])
    return given, StepsAhead(call, made, cache, filled, grown, first)


def _side_by_side(first: DynamicCache, second: DynamicCache, rows: torch.Tensor) -> Any:
    """A cache of all rows of the first, and these (R,) rows of the second; neither changes."""
    both: Any = copy.copy(first)
    both.layers = []
    layers: Any = zip(first.layers, second.layers, strict=True)
    for one, other in layers:
        layer = copy.copy(one)
        at = rows.to(other.keys.device)
        layer.keys = torch.cat([one.keys, other.keys[at]])
        layer.values = torch.cat([one.values, other.values[at]])
        both.layers.append(layer)
    return both


def _filled(cache: DynamicCache) -> list[tuple[torch.Tensor, int | None]]:
    """A cache's tensors and their versions, which change when they are written to (those made in
    inference mode have none)."""
    layers: Any = cache.layers
    tensors = [t for layer in layers for t in (layer.keys, layer.values)]
    return [(t, None if t is None or t.is_inference() else t._version) for t in tensors]


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a == b.to(a.device)).all())
