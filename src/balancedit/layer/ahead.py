"""A decode step made ahead of its call, beside the pass that decides whether an edit fires.

Whether the untouched model gives the old answer is found out by a pass over that answer's tokens
(`layer/old_answers.py`), which costs about what a decode step does: on a few rows both come to
reading the model's weights once. So where an edit is likely to fire, the edited answer's second
token is found in the same pass: the untouched prompts with the old answers' tokens, and the edited
ones with their likeliest first token, are rows of one batch. The caller is given the edited first
token only when the decision stands. If its next call is that very step, it is answered from here;
if it is anything else, this is forgotten and the call is made.

Letters: B = rows of the call, R = answers asked about, A = tokens of the longest one, D = width of
a head, V = vocabulary.
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
from balancedit.layer.old_answers import Asked, PromptCall, predicting, read_on, which_given

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
    """Whether a step can be made ahead of the one after a call: it was given a cache that simply
    grows, and gave nothing but logits and that cache."""
    cache = call.given.get("past_key_values")
    return (
        type(cache) is DynamicCache
        and not getattr(cache, "offloading", False)
        and all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers)
        and getattr(call.out, "past_key_values", None) is cache
    )


@dataclass(frozen=True)
class StepAhead:
    """A decode step behind a call's prompts.

    described: the step's tensors by argument, ``input_ids`` (B, 1) among them. cache, filled: the
    cache that the step goes on from, and what fills it. grown: of every layer, the step's keys and
    values (B, heads, 1, D). out: its output, of logits (B, 1, V).
    """

    call: PromptCall
    described: Mapping[str, torch.Tensor]
    cache: DynamicCache
    filled: Sequence[tuple[torch.Tensor, int | None]]
    grown: Sequence[tuple[torch.Tensor, torch.Tensor]]
    out: Any

    def asked_for(self, module: nn.Module, given: Mapping[str, Any]) -> Any:
        """What a call with these arguments gives, if it is this very step: the output, the cache
        grown. None otherwise, and the cache is as it was."""
        if module is not self.call.module or torch.is_grad_enabled():
            return None
        if given.get("past_key_values") is not self.cache or not self._goes_on():
            return None
        if not all(self._says(name, value) for name, value in given.items()):
            return None
        if not (self.described.keys() & self.call.given.keys() | {"input_ids"}) <= given.keys():
            return None
        for i, (keys, values) in enumerate(self.grown):
            self.cache.update(keys, values, i)
        return self.out

    def _goes_on(self) -> bool:
        """Whether the cache is filled as it was."""
        now = _filled(self.cache)
        return len(now) == len(self.filled) and all(
            a is b and version == before
            for (a, version), (b, before) in zip(now, self.filled, strict=True)
        )

    def _says(self, name: str, value: Any) -> bool:
        """Whether one argument of a call is what it is in this step."""
        if name == "past_key_values":
            return True
        if isinstance(value, torch.Tensor):
            expected = self.described.get(name)
            return expected is not None and _same(value, expected)
        return name in _SETTINGS and value in _SETTINGS[name]


def step_ahead(
    call: PromptCall, edited: PromptCall, untouched: DynamicCache, pairs: Sequence[Asked]
) -> tuple[dict[int, set[AnswerIds]], StepAhead | None]:
    """Which of the answers in `pairs` the untouched model gives, by row, and the step that follows
    if the edited model's likeliest tokens are taken: one pass over both.

    call: the prompts read by the untouched model, `untouched` the cache that it filled; edited: the
    same call through the edited layer. To be made where calls are decode steps of B + R rows, the
    first B edited.
    """
    cache, ends, after = edited.out.past_key_values, call.ends, edited.ends
    assert ends is not None
    assert after is not None
    tokens = after.argmax(-1).tolist()
    n, device = len(tokens), call.prompt.device
    rows = torch.tensor([*range(n), *(row for row, _ in pairs)], device=device)
    behind = [*((token,) for token in tokens), *(answer[:-1] for _, answer in pairs)]
    filled = _filled(cache)
    both = _side_by_side(cache, untouched, rows[n:])
    with torch.no_grad():
        out, described = read_on(call, both, rows, behind)
    given = which_given([row for row, _ in pairs], pairs, predicting(ends, out.logits[n:], pairs))
    if out.keys() != _OUTPUTS or call.out.keys() != _OUTPUTS:
        return given, None
    width = max(map(len, behind))
    step = {
        name: value[..., :n, : value.shape[-1] - width + 1] for name, value in described.items()
    }
    step["input_ids"] = torch.tensor(tokens, device=device)[:, None]
    end = call.prompt.shape[1]
    grown = [
        (layer.keys[:n, :, end : end + 1], layer.values[:n, :, end : end + 1])
        for layer in both.layers
    ]
    made = type(out)(logits=out.logits[:n, :1], past_key_values=cache)
    return given, StepAhead(call, step, cache, filled, grown, made)


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
