"""Batched generation with the routing decision of every row.

Letters: B = rows of a batch, T = tokens of its longest prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from balancedit.decisions import Decision
from balancedit.errors import InputError, RoutingError
from balancedit.images import solid
from balancedit.models.loading import LoadedModel
from balancedit.pairing import batches
from balancedit.pictures import Picture, each
from balancedit.prompts import ANSWER_TOKENS
from balancedit.replay import Noted

if TYPE_CHECKING:
    from balancedit.methods.protocol import Method, Row

_ASKED = 32  # prompts asked together of the untouched model


@dataclass(frozen=True)
class GeneratedAnswer:
    """A generated text and the routing decision of its prompt."""

    text: str
    decision: Decision


class _Decoding(NamedTuple):
    """How answers are decoded."""

    max_new_tokens: int
    num_beams: int

    @property
    def is_plain(self) -> bool:
        """Whether it is how the untouched model is asked."""
        return self == _PLAIN


_PLAIN = _Decoding(ANSWER_TOKENS, 1)


@torch.no_grad()
def generate_answers(
    loaded: LoadedModel,
    method: Method,
    rows: Sequence[Row],
    *,
    max_new_tokens: int,
    num_beams: int,
    batch_size: int,
) -> list[GeneratedAnswer]:
    """Answer rows of (image or None, question), in batches of at most `batch_size`, in order."""
    how = _Decoding(max_new_tokens, num_beams)
    answers: dict[int, GeneratedAnswer] = {}
    for batch in batches([image for image, _ in rows], batch_size):
        made = _answer_batch(loaded, method, [rows[i] for i in batch], how)
        answers.update(zip(batch, made, strict=True))
    return [answers[i] for i in range(len(rows))]


def _answer_batch(
    loaded: LoadedModel, method: Method, rows: Sequence[Row], how: _Decoding
) -> list[GeneratedAnswer]:
    """One batch; where undecided rows turn out to fire an edit, it is generated again, from the
    edited layer's block on where the model allows that."""
    with remembering(loaded, method) if method.holds_claims else nullcontext():
        answers = _open_pass(loaded, method, rows, how)
        undecided = [i for i, a in enumerate(answers) if a.decision.claims]
        if not undecided:
            return answers
        if how.is_plain:
            said = [answers[i].text for i in undecided]
        else:
            said = untouched(loaded, method, [rows[i] for i in undecided])
        decisions = [a.decision for a in answers]
        for i, text in zip(undecided, said, strict=True):
            decisions[i] = decisions[i].settled(text)
        answers = [replace(a, decision=d) for a, d in zip(answers, decisions, strict=True)]
        again = [i for i in undecided if decisions[i].fired]
        if again and loaded.prefix.is_remembering:
            again = list(range(len(rows)))  # the very batch that is remembered
        if again:
            with method.decided([decisions[i] for i in again]):
                made = _generate_batch(loaded, method, [rows[i] for i in again], how)
            for i, answer in zip(again, made, strict=True):
                answers[i] = answer
        return answers


def _open_pass(
    loaded: LoadedModel, method: Method, rows: Sequence[Row], how: _Decoding
) -> list[GeneratedAnswer]:
    """One batch, undecided rows through the untouched layer. Where it is remembered what the
    untouched model said to it, the model runs only if an edit fires."""
    known = None
    if loaded.prefix.is_remembering and how.is_plain:
        known = loaded.prefix.noted(_name(rows, how), _way(method))
    if known is not None:
        decisions = method.decisions(known.keys)
        if decisions is not None and all(d.claims or not d.fired for d in decisions):
            return [GeneratedAnswer(t, d) for t, d in zip(known.said, decisions, strict=True)]
    with method.left_open():
        return _generate_batch(loaded, method, rows, how)


def untouched(loaded: LoadedModel, method: Method, rows: Sequence[Row]) -> list[str]:
    """What the untouched model says to rows of (image or None, question), greedily; called while
    attached."""
    with method.bypass():
        answers = generate_answers(loaded, method, rows, **_PLAIN._asdict(), batch_size=_ASKED)
    return [answer.text for answer in answers]


def _generate_batch(
    loaded: LoadedModel, method: Method, rows: Sequence[Row], how: _Decoding
) -> list[GeneratedAnswer]:
    model: Any = loaded.model
    with method.tracing() as trace:
        asked = method.worded(rows)
        remembered = loaded.prefix.is_remembering and method.reads_once
        name = _name(asked, how) if remembered else None
        known = loaded.prefix.inputs(name) if remembered else None
        inputs = known or loaded.prompter.inputs([i for i, _ in asked], [q for _, q in asked])
        prompt = inputs["input_ids"]
        _check_fits(loaded, prompt.shape[1], how.max_new_tokens)
        with loaded.prefix.asked(name, inputs) if remembered else nullcontext():
            out = model.generate(
                **loaded.to_device(inputs),
                do_sample=False,
                **how._asdict(),
                pad_token_id=_pad(loaded),
            )
    per_row = max(1, len(trace.rows) // len(rows))  # a beam search routes every beam
    if trace.keys and per_row > 1:
        _check_beams(trace.stacked_keys().unflatten(0, (-1, per_row)), loaded.dtype)
    decisions = trace.rows[::per_row] or [Decision()] * len(rows)
    texts = loaded.prompter.answers(out, prompt)
    untouched_all = all(d.claims or not d.fired for d in decisions)
    if remembered and untouched_all and how.is_plain and trace.keys:
        loaded.prefix.note(name, _way(method), Noted(texts, trace.stacked_keys()))
    return [GeneratedAnswer(t, d) for t, d in zip(texts, decisions, strict=True)]


def _check_beams(keys: torch.Tensor, dtype: torch.dtype) -> None:
    """Raise `RoutingError` where the beams of a row, (B, beams, D) keys, do not read the same
    prompt: some models hand out the pictures of a row among its beams."""
    rounding = 1e-3 if dtype == torch.float32 else 1e-2
    apart = (keys - keys[:, :1]).norm(dim=-1) / keys[:, :1].norm(dim=-1)
    if bool((apart > rounding).any()):
        raise RoutingError(
            "this model's beam search mixes up several pictures of a prompt; ask with num_beams=1"
        )


@contextmanager
def remembering(loaded: LoadedModel, method: Method) -> Iterator[None]:
    """Inside the context a batch of prompts that is asked again, with other edits in force, is not
    read again before the edited layer's block; nothing differs by a bit. Nothing happens where the
    model or the method does not allow it. Called while attached."""
    model: Any = loaded.model

    @torch.no_grad()
    def second_token() -> torch.Tensor:
        inputs = loaded.prompter.inputs([solid((64, 64), "black")], ["What is this?"])
        made = model.generate(
            **loaded.to_device(inputs),
            do_sample=False,
            min_new_tokens=2,
            max_new_tokens=2,
            pad_token_id=_pad(loaded),
            output_logits=True,
            return_dict_in_generate=True,
        )
        return torch.cat(made.logits)

    with method.bypass():
        fits = method.reads_once and loaded.prefix.fits("generation", second_token)
    with loaded.prefix.remembering() if fits else nullcontext():
        yield


def is_remembered(loaded: LoadedModel, rows: Sequence[Row]) -> bool:
    """Whether this very batch of prompts, asked greedily as they stand, need not be read again."""
    return loaded.prefix.inputs(_name(rows, _PLAIN)) is not None


def _way(method: Method) -> tuple[str, ...]:
    """How a method makes its keys, and of which layer's input."""
    return (method.name, *(f"{k} {v}" for k, v in sorted(method.binding().items())))


def _name(rows: Sequence[Row], how: _Decoding) -> tuple[int, bytes]:
    """What a batch of prompts is remembered by: its beams, its questions and the pixels shown."""
    digest = hashlib.sha1(usedforsecurity=False)
    for picture, question in rows:
        digest.update(f"{len(question)} {question}".encode())
        for image in each(picture):
            digest.update(f"{image.mode} {image.size}".encode())
            digest.update(image.tobytes())
    return how.num_beams, digest.digest()


def check_learnable(loaded: LoadedModel, image: Picture, question: str, answer: str) -> None:
    """Raise `InputError` where a question and its answer are longer than the model's context."""
    limit = loaded.context_length
    if limit is None:
        return
    prompt = loaded.prompter.inputs([image], [question])["input_ids"].shape[1]
    n = max(ANSWER_TOKENS, len(loaded.prompter.answer_ids(answer, loaded.eos)))
    if prompt + n > limit:
        raise InputError(
            f"question and answer take {prompt + n} tokens; '{loaded.name}' holds {limit}"
        )


def _check_fits(loaded: LoadedModel, tokens: int, new: int) -> None:
    limit = loaded.context_length
    if limit is not None and tokens + new > limit:
        raise InputError(
            f"the prompt takes {tokens} tokens; '{loaded.name}' holds {limit}, {new} of them "
            "for the answer: shorten the question"
        )


def _pad(loaded: LoadedModel) -> int:
    pad = getattr(loaded.prompter.tokenizer, "pad_token_id", None)
    return int(pad) if pad is not None else loaded.eos
