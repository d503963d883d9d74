"""Batched generation with the routing decision of every row.

Letters: B = rows of a batch, T = tokens of its longest prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers import StoppingCriteriaList

from balancedit.answering.failures import explained
from balancedit.answering.lengths import OwnLengths, RowEnds, most_tokens
from balancedit.answering.protocol import Answers, Routing
from balancedit.errors import InputError, PromptError, RoutingError
from balancedit.inputs.images import solid
from balancedit.inputs.pairing import Row, batches
from balancedit.inputs.pictures import each
from balancedit.layer.decisions import Decision, RouteTrace, Said
from balancedit.layer.prompts import ANSWER_TOKENS, decoding_plainly, evaluating
from balancedit.models.loading import LoadedModel
from balancedit.prefill.passes import Noted
from balancedit.types import BATCH_SIZE, Answer


@dataclass(frozen=True)
class GeneratedAnswer:
    """What was generated for a prompt, its routing decision, and its key (D,) float32 where one was
    made."""

    said: Said
    decision: Decision
    prompt_tokens: int = 0  # of its own, padding apart; 0 where the prompt was not read again
    key: torch.Tensor | None = None

    @property
    def text(self) -> str:
        """The answer's text."""
        return self.said.text

    @property
    def answer(self) -> Answer:
        """It as a caller is given it."""
        d = self.decision
        return Answer(self.text, d.fired, d.nearest, d.distance, d.radius, self.said.cut)


class Decoding(NamedTuple):
    """How answers are decoded. max_new_tokens: of all rows, or of each by itself; None: as many as
    each needs (`lengths.py`)."""

    max_new_tokens: int | tuple[int | None, ...] | None = None
    num_beams: int = 1

    def most(self, rows: int) -> Sequence[int | None]:
        """`max_new_tokens` of each row."""
        new = self.max_new_tokens
        return new if isinstance(new, tuple) else [new] * rows

    @property
    def is_plain(self) -> bool:
        """Whether it is how the untouched model is asked."""
        return self == _PLAIN


_PLAIN = Decoding()


@torch.no_grad()
def generate_answers(
    loaded: LoadedModel,
    method: Answers,
    rows: Sequence[Row],
    *,
    max_new_tokens: int | None = None,
    num_beams: int = 1,
    batch_size: int = BATCH_SIZE,
    **more: Any,
) -> list[GeneratedAnswer]:
    """Answer rows of (image or None, what is asked), in batches of at most `batch_size`, in order.
    max_new_tokens: None: `ANSWER_TOKENS`, and where an edit fires as many as its answer needs.
    more: what `generate` takes beside how it decodes, such as a streamer. Raises `InputError`, with
    the question named where there are several."""
    how = Decoding(max_new_tokens, num_beams)
    answers: dict[int, GeneratedAnswer] = {}
    for batch in batches([image for image, _ in rows], batch_size):
        try:
            made = _answer_batch(loaded, method, [rows[i] for i in batch], how, more)
        except PromptError as error:
            raise error.among(batch[error.row], len(rows)) from error
        answers.update(zip(batch, made, strict=True))
    return [answers[i] for i in range(len(rows))]


def _answer_batch(
    loaded: LoadedModel,
    method: Answers,
    rows: Sequence[Row],
    how: Decoding,
    more: Mapping[str, Any],
) -> list[GeneratedAnswer]:
    """One batch. Where it is remembered what the untouched model said to it, the model runs only if
    an edit fires."""
    if loaded.prefix.is_remembering and how.is_plain and not more:
        known = loaded.prefix.noted(_name(rows, how), _way(method))
        decisions = method.routing.decisions(known.keys) if known is not None else None
        if known is not None and decisions is not None:
            settled = [
                d.settled([ids for ids in d.asked_of if ids == said.ids])
                for d, said in zip(decisions, known.said, strict=True)
            ]
            if not any(d.fired for d in settled):
                return [
                    GeneratedAnswer(s, d, key=key)
                    for s, d, key in zip(known.said, settled, known.keys, strict=True)
                ]
    return generate_batch(loaded, method, rows, how, more)


def untouched(loaded: LoadedModel, method: Answers, rows: Sequence[Row]) -> list[Said]:
    """What the untouched model says to rows of (image or None, question), greedily; called while
    attached."""
    with method.routing.bypass():
        answers = generate_answers(loaded, method, rows, **_PLAIN._asdict())
    return [answer.said for answer in answers]


@torch.no_grad()
def generate_batch(
    loaded: LoadedModel,
    method: Answers,
    rows: Sequence[Row],
    how: Decoding,
    more: Mapping[str, Any],
    ended: Callable[[int, GeneratedAnswer], None] | None = None,
) -> list[GeneratedAnswer]:
    """One batch of rows with as many pictures; more: as for `generate_answers`. ended: told of each
    row that comes to an end of its own, greedily, while others go on (without its key). Raises
    `InputError` and, where it is about one row, `PromptError`."""
    model: Any = loaded.model
    with method.routing.tracing() as trace:
        asked = method.worded(rows)
        remembered = loaded.prefix.is_remembering and method.routing.reads_once
        name = _name(asked, how) if remembered else None
        known = loaded.prefix.inputs(name) if remembered else None
        inputs = known or loaded.prompter.inputs([i for i, _ in asked], [q for _, q in asked])
        prompt = inputs["input_ids"]
        own = inputs["attention_mask"].sum(1).tolist()
        most = most_tokens(loaded, asked, prompt.shape[1], own, how.most(len(rows)))
        stopping = StoppingCriteriaList(more.get("stopping_criteria", ()))
        lengths = OwnLengths(lambda: _limits(method, _decided(trace, len(rows)), most, how))
        stopping.append(lengths)
        if ended is not None:

            def tell(row: int, ids: list[int]) -> None:
                said = loaded.prompter.said_alone(ids, loaded.ends)
                ended(row, GeneratedAnswer(said, _decided(trace, len(rows))[row], own[row]))

            stopping.append(RowEnds(loaded.ends, lengths, tell))
        with (
            loaded.prefix.asked(name, inputs) if remembered else nullcontext(),
            decoding_plainly(model),
            explained(model, len(rows)),
        ):
            out = model.generate(
                **loaded.to_device(inputs),
                do_sample=False,
                num_beams=how.num_beams,
                max_new_tokens=max(most),
                pad_token_id=pad_token(loaded),
                **{**more, "stopping_criteria": stopping},
            )
    per_row = _beams(trace, len(rows))
    keys = trace.stacked_keys() if trace.keys else None
    if keys is not None and per_row > 1:
        _check_beams(keys.unflatten(0, (-1, per_row)), loaded.dtype)
    decisions = _decided(trace, len(rows))
    said = loaded.prompter.said(out, prompt, loaded.ends, lengths.limits)
    if remembered and how.is_plain and keys is not None and not any(d.fired for d in decisions):
        loaded.prefix.note(name, _way(method), Noted(said, keys))
    ours = keys is not None and len(keys) == len(rows) * per_row  # else of prompts beside these
    own_keys = keys[::per_row] if keys is not None and ours else [None] * len(rows)
    return [GeneratedAnswer(*row) for row in zip(said, decisions, own, own_keys, strict=True)]


def _beams(trace: RouteTrace, rows: int) -> int:
    """How many decisions each row has: a beam search routes every beam."""
    return max(1, len(trace.rows) // rows)


def _decided(trace: RouteTrace, rows: int) -> Sequence[Decision]:
    """What was decided on each row, by its first beam."""
    return trace.rows[:: _beams(trace, rows)] or [Decision()] * rows


def _limits(
    method: Answers, decisions: Sequence[Decision], most: Sequence[int], how: Decoding
) -> Sequence[int]:
    """Tokens that each answer may have."""
    given = how.most(len(decisions))
    taught = (0 if d.fired is None else method.answer_tokens(d.fired) for d in decisions)
    needed = (max(ANSWER_TOKENS, tokens) for tokens in taught)
    return [min(m, n) if g is None else m for m, n, g in zip(most, needed, given, strict=True)]


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
def remembering(loaded: LoadedModel, method: Answers) -> Iterator[None]:
    """Inside the context a batch of prompts that is asked again, with other edits in force, is not
    read again before the edited layer's block; nothing differs by a bit. Nothing happens where the
    model or the method does not allow it. Called while attached."""
    with loaded.prefix.remembering() if resumes(loaded, method.routing) else nullcontext():
        yield


def resumes(loaded: LoadedModel, routing: Routing) -> bool:
    """Whether a prompt that was read may be generated from once more from the edited layer's block
    on; found out once a model. Called while attached."""
    model: Any = loaded.model

    @torch.no_grad()
    def second_token() -> torch.Tensor:
        inputs = loaded.prompter.inputs([solid((64, 64), "black")], ["What is this?"])
        with decoding_plainly(model):
            made = model.generate(
                **loaded.to_device(inputs),
                do_sample=False,
                min_new_tokens=2,
                max_new_tokens=2,
                pad_token_id=pad_token(loaded),
                output_logits=True,
                return_dict_in_generate=True,
            )
        return torch.cat(made.logits)

    if not routing.reads_once:
        return False
    with routing.bypass(), evaluating(model), explained(model, 1):
        return loaded.prefix.fits("generation", second_token)


def is_remembered(loaded: LoadedModel, rows: Sequence[Row]) -> bool:
    """Whether this very batch of prompts, asked greedily as they stand, need not be read again."""
    return loaded.prefix.inputs(_name(rows, _PLAIN)) is not None


def _way(method: Answers) -> tuple[str, ...]:
    """How a method makes its keys, and of which layer's input."""
    return (method.name, *(f"{k} {v}" for k, v in sorted(method.binding().items())))


def _name(rows: Sequence[Row], how: Decoding) -> tuple[int, bytes]:
    """What a batch of prompts is remembered by: its beams, its questions and the pixels shown."""
    digest = hashlib.sha1(usedforsecurity=False)
    for picture, asked in rows:
        written = repr(asked)
        digest.update(f"{len(written)} {written}".encode())
        for image in each(picture):
            digest.update(f"{image.mode} {image.size}".encode())
            digest.update(image.tobytes())
    return how.num_beams, digest.digest()


def check_prompt(loaded: LoadedModel, row: Row, answer: str | None = None) -> None:
    """Raise `InputError` for a prompt that the model does not take, alone or with an answer to be
    learned behind it."""
    image, asked = row
    tokens = loaded.prompter.inputs([image], [asked])["input_ids"].shape[1]
    n = 0 if answer is None else len(loaded.prompter.answer_ids(answer, loaded.eos))
    limit = loaded.context_length
    if limit is not None and tokens + max(n, ANSWER_TOKENS) > limit:
        raise InputError(
            f"question and answer take {tokens + max(n, ANSWER_TOKENS)} tokens; '{loaded.name}' "
            f"holds {limit}"
        )


def pad_token(loaded: LoadedModel) -> int:
    """The token that fills up rows which have ended."""
    pad = getattr(loaded.prompter.tokenizer, "pad_token_id", None)
    return int(pad) if pad is not None else loaded.eos
