"""Whether the untouched model would give certain answers to a prompt: one pass over those answers'
tokens behind it, nothing generated.

An answer is given where each of its tokens is the likeliest after those before it, which is what
greedy decoding comes to. Where a call has just read the prompts, the pass goes on from a copy of
their cache; the first time a model is asked like that, what it says is held against a pass over
prompts and answers together, and models that disagree (or keep no ordinary cache) are always asked
by the latter.

Letters: B = rows of the call, T = its tokens, R = rows asked about, A = tokens of the longest
answer, V = vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from balancedit.codebook.pooling import last_position
from balancedit.layer.calls import cached_length
from balancedit.layer.decisions import AnswerIds
from balancedit.layer.prompts import evaluating, grown, padded, prompts_alone, with_answers

#: A row of a call, and an answer of which it matters whether the model gives it there.
Asked = tuple[int, AnswerIds]

_ALIKE, _ALIKE_IN_HALF = 1e-3, 5e-2  # difference of logits, at most, as a share of the largest


@dataclass(frozen=True)
class PromptCall:
    """A forward call that read prompts, while nothing fired. given: its arguments by name; prompt:
    (B, T) bool, the prompts' tokens; real: (B, T) bool, all tokens that are no padding; out: what
    the model gave, None where it has not run."""

    module: nn.Module
    given: Mapping[str, Any]
    prompt: torch.Tensor
    real: torch.Tensor
    out: Any = None

    def gave(self, out: Any) -> PromptCall:
        """The call with what the model gave."""
        return replace(self, out=out)

    @property
    def ends(self) -> torch.Tensor | None:
        """(B, V) logits behind each prompt, where the call gave them."""
        logits = getattr(self.out, "logits", None)
        if logits is None:
            return None
        behind = self.prompt.shape[1] - last_position(self.prompt)
        if int(behind.max()) > logits.shape[1]:
            return None
        rows = torch.arange(len(logits), device=logits.device)
        return logits[rows, logits.shape[1] - behind.to(logits.device)].float()


class OldAnswers:
    """Asks one model. inputs: gives the names of what its processor makes."""

    def __init__(self, inputs: Callable[[], Collection[str]]) -> None:
        self.inputs = inputs
        self._fit: dict[tuple[nn.Module, bool], bool] = {}

    @torch.no_grad()
    def given(
        self,
        call: PromptCall,
        wanted: Mapping[int, Sequence[AnswerIds]],
        apart: Callable[[], AbstractContextManager[Any]],
    ) -> dict[int, set[AnswerIds]]:
        """Which of the answers asked about the model gives, by row of the call. wanted: by row, the
        answers; apart: a context in which further passes do not disturb the call's routing, and
        nothing fires."""
        pairs = self.begun(call, wanted)
        if not pairs:
            return {row: set() for row in wanted}
        with apart(), evaluating(call.module):
            return which_given(wanted, pairs, self._logits(call, call.ends, pairs))

    def begun(self, call: PromptCall, wanted: Mapping[int, Sequence[AnswerIds]]) -> list[Asked]:
        """Those of the answers asked about whose first token the model gives, as far as the call
        shows; `wanted` as in `given`."""
        pairs = [(row, answer) for row, answers in wanted.items() for answer in answers]
        ends = call.ends
        if ends is None:
            return pairs
        likeliest = ends.argmax(-1).tolist()
        return [(row, answer) for row, answer in pairs if answer[0] == likeliest[row]]

    def reads_on(self, call: PromptCall) -> bool:
        """Whether a pass that goes on from a call's cache is known to give what a whole one does,
        for this model and prompts that are padded like these."""
        known = self._fit.get((call.module, _is_padded(call)))
        return bool(known) and call.ends is not None and self._has_prompts_cached(call)

    def _logits(
        self,
        call: PromptCall,
        ends: torch.Tensor | None,
        pairs: Sequence[Asked],
    ) -> list[torch.Tensor]:
        """For each (row, answer) the logits (tokens of the answer, V) that predict its tokens."""
        if ends is not None and self._has_prompts_cached(call):
            padding = _is_padded(call)
            known = self._fit.get((call.module, padding))
            if known is not False:
                quick = self._behind_cache(call, ends, pairs)
                if known:
                    return quick
                slow = self._together(call, pairs)
                share = _ALIKE if _is_whole(call.module) else _ALIKE_IN_HALF
                fits = all(_alike(a, b, share) for a, b in zip(quick, slow, strict=True))
                self._fit[call.module, padding] = fits
                return slow
        return self._together(call, pairs)

    def _has_prompts_cached(self, call: PromptCall) -> bool:
        """Whether a call's cache holds its prompts and nothing else, in a form that rows can be
        taken of."""
        cache = getattr(call.out, "past_key_values", None)
        layers = getattr(cache, "layers", ())
        return (
            bool((call.prompt == call.real).all())
            and bool(call.prompt[:, -1].all())  # padding behind a prompt would part it from answers
            and cached_length(cache) == call.prompt.shape[1]
            and all(callable(getattr(x, "batch_select_indices", None)) for x in (cache, *layers))
            and ("position_ids" in call.given or not _keeps_positions(call.module))
        )

    def _behind_cache(
        self, call: PromptCall, ends: torch.Tensor, pairs: Sequence[Asked]
    ) -> list[torch.Tensor]:
        """From a copy of the call's cache: the answers' tokens but the last in one pass."""
        read, at = read_once(pairs)
        behind = [answer[:-1] for _, answer in read]
        if not any(behind):
            return predicting(ends, None, pairs)
        rows = torch.tensor([row for row, _ in read], device=call.prompt.device)
        cache = copy.deepcopy(call.out.past_key_values)
        cache.batch_select_indices(rows)
        return predicting(ends, read_on(call, cache, rows, behind)[0].logits[at], pairs)

    def _together(self, call: PromptCall, pairs: Sequence[Asked]) -> list[torch.Tensor]:
        """Prompts and answers in a pass, all rows of the call with one answer each; in as many
        passes as the row with the most answers has."""
        prompts = prompts_alone(call.given, call.prompt, self.inputs())
        read, places = read_once(pairs)
        found: dict[int, torch.Tensor] = {}
        while len(found) < len(read):
            chosen: dict[int, int] = {}
            for at, (row, _) in enumerate(read):
                if at not in found:
                    chosen.setdefault(row, at)
            behind = [read[chosen[r]][1] if r in chosen else (0,) for r in range(len(call.prompt))]
            width = max(map(len, behind))
            full = with_answers(call.module, prompts, behind)
            logits = call.module(**full, use_cache=False).logits[:, -width - 1 :].float()
            found |= {at: logits[row] for row, at in chosen.items()}
        return [found[at][: len(answer)] for at, (_, answer) in zip(places, pairs, strict=True)]


def read_once(pairs: Sequence[Asked]) -> tuple[list[Asked], list[int]]:
    """What must be read to hear about these answers, and where in it each of them is: an answer
    that begins as a longer one does ("hp" and "hp.") is read with that one."""
    read: list[Asked] = []
    of_row: dict[int, list[int]] = {row: [] for row, _ in pairs}

    def place(row: int, answer: AnswerIds) -> int | None:
        begun = answer[:-1]  # the last token is predicted, not read
        return next((i for i in of_row[row] if read[i][1][: len(begun)] == begun), None)

    for row, answer in sorted(pairs, key=lambda pair: -len(pair[1])):
        if place(row, answer) is None:
            of_row[row].append(len(read))
            read.append((row, answer))
    return read, [at for pair in pairs if (at := place(*pair)) is not None]


def read_on(
    call: PromptCall, cache: Any, rows: torch.Tensor, behind: Sequence[AnswerIds]
) -> tuple[Any, dict[str, torch.Tensor]]:
    """One pass over tokens behind prompts that a cache holds; it fills the cache further. rows:
    (R,) which of the call's prompts the cache's rows are; behind: the R rows' tokens, A at most.

    Gives what the model gave, of logits (R, A, V), and what described the tokens beside their ids.
    """
    n = max(map(len, behind))
    described = {"attention_mask": call.real.long()} | {
        name: call.given[name]
        for name in ("token_type_ids", "mm_token_type_ids", "position_ids")
        if isinstance(call.given.get(name), torch.Tensor) and call.given[name].dim() > 1
    }
    chosen = {
        name: value.expand(*value.shape[:-2], len(call.prompt), -1)[..., rows, :]
        for name, value in described.items()
    }
    longer = {
        name: value if name == "attention_mask" else value[..., -n:]
        for name, value in grown(call.module, chosen, n).items()
    }
    tokens = padded([tokens or (0,) for tokens in behind], rows.device)
    out = call.module(input_ids=tokens, past_key_values=cache, use_cache=True, **longer)
    return out, longer


def predicting(
    ends: torch.Tensor, logits: torch.Tensor | None, pairs: Sequence[Asked]
) -> list[torch.Tensor]:
    """For each (row, answer) the logits (tokens of the answer, V) that predict its tokens: (B, V)
    behind the prompts, and (pairs, A, V) behind the answers' tokens but the last."""
    rows = torch.tensor([row for row, _ in pairs], device=ends.device)
    first = ends[rows][:, None]
    if logits is not None:
        first = torch.cat([first, logits.float().to(first.device)], dim=1)
    return [row[: len(answer)] for row, (_, answer) in zip(first, pairs, strict=True)]


def which_given(
    rows: Collection[int], pairs: Sequence[Asked], logits: Sequence[torch.Tensor]
) -> dict[int, set[AnswerIds]]:
    """By row, the answers of which every token is the likeliest."""
    found: dict[int, set[AnswerIds]] = {row: set() for row in rows}
    for (row, answer), predicted in zip(pairs, logits, strict=True):
        if predicted.argmax(-1).tolist() == list(answer):
            found[row].add(answer)
    return found


def _is_padded(call: PromptCall) -> bool:
    return not bool(call.prompt.all())


def _keeps_positions(module: nn.Module) -> bool:
    """Whether a model keeps the positions of its last prompts in itself, for all their rows."""
    return any(hasattr(m, "rope_deltas") for m in module.modules())


def _is_whole(module: nn.Module) -> bool:
    return all(p.dtype == torch.float32 for p in module.parameters() if p.is_floating_point())


def _alike(a: torch.Tensor, b: torch.Tensor, share: float) -> bool:
    return bool((a - b.to(a.device)).abs().max() <= share * b.abs().max())
