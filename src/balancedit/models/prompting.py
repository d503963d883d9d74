"""From images and questions to a model's inputs, and from its outputs back to text.

One `Prompter` serves one model: through the processor's own chat template, or through a plain
format string where the model has none. Batches are padded on the left, as decoding needs.

Letters: B = rows, T = tokens of the longest prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from jinja2 import TemplateError
from PIL import Image

from balancedit.errors import InputError, ModelLoadError, PromptError, first_line
from balancedit.inputs.conversation import Asked
from balancedit.inputs.pictures import Picture, each
from balancedit.layer.decisions import Said
from balancedit.models import chats
from balancedit.models.padding import encoders_padded_right, padded_left
from balancedit.models.processors import chat_template


class Prompter:
    """Prompts for one model.

    processor: a transformers processor with an image processor and a tokenizer.
    template: a format string with ``{question}`` and, where an image goes, ``{image}``; None takes
    the processor's chat template. system: an optional system message (chat template only).
    answer_prefix: what stands between the prompt and an answer, such as a space. answer_end: text
    at which an answer is cut, where the model writes one. needs_image: whether the model takes no
    prompt without a picture. most_images: how many it takes in a prompt, None where nothing says.
    model: what to call it in an error.
    """

    def __init__(
        self,
        processor: Any,
        *,
        template: str | None = None,
        system: str | None = None,
        answer_prefix: str = "",
        answer_end: str | None = None,
        needs_image: bool = False,
        most_images: int | None = None,
        model: str = "this model",
    ) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", None)
        if self.tokenizer is None or not hasattr(processor, "image_processor"):
            raise ModelLoadError(
                f"{type(processor).__name__} has no image processor beside its tokenizer; pass the "
                "model's image-text-to-text processor as processor="
            )
        if template is None and chat_template(processor) is None:
            raise ModelLoadError(
                f"{type(processor).__name__} has no chat template; pass prompt=, a format string "
                "with {image} and {question}, such as '{image}Question: {question} Answer:'"
            )
        self._template = template
        self._system = system
        self._prefix = answer_prefix
        self._end = answer_end
        self.needs_image = needs_image
        self._most_images = most_images
        self._model = model
        self._told: dict[str, Any] = {}
        self._styles: dict[str, chats.Style] = {}  # by chat template
        self._image_token = str(getattr(processor, "image_token", None) or "")
        special = [str(t) for t in self.tokenizer.added_tokens_decoder.values() if t.special]
        self._markers = [t for t in {*special, self._image_token} if t]
        self._names = set(getattr(processor, "model_input_names", ()))
        known = self.tokenizer.get_vocab()
        self._image_ids = {known[t] for t in [self._image_token] if t in known}

    def telling(self, **how: Any) -> Prompter:
        """The same, with further arguments for the processor's `apply_chat_template`."""
        other = copy(self)
        other._told = how
        return other

    def inputs(
        self, pictures: Sequence[Picture | None], questions: Sequence[Asked]
    ) -> dict[str, torch.Tensor]:
        """Model inputs of B prompts: ``input_ids`` and ``attention_mask`` (B, T), ``pixel_values``
        and whatever else the processor makes. pictures: what each row shows, as many pictures in
        every row. questions: what is asked about them, or conversations. Raises `PromptError` for a
        prompt that this model does not take, and names the first such row."""
        images = [each(picture) for picture in pictures]
        self._check_number({len(row) for row in images})
        batch = self._processed(images, questions)
        tensors = {k: v for k, v in batch.items() if isinstance(v, torch.Tensor) and k != "labels"}
        self._names |= tensors.keys()
        return padded_left(tensors) | encoders_padded_right(tensors)

    def _processed(
        self, images: Sequence[Sequence[Image.Image]], questions: Sequence[Asked]
    ) -> Mapping[str, Any]:
        """What the processor makes of prompts. Processors raise nearly anything."""
        ask = self._from_chat if self._template is None else self._from_template
        try:
            return ask(images, questions)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            for row, (shown, question) in enumerate(zip(images, questions, strict=True)):
                try:
                    ask([shown], [question])
                except Exception as alone:
                    raise PromptError(self._refused(alone, shown), row) from alone
            raise PromptError(self._refused(error, images[0])) from error

    def _refused(self, error: Exception, shown: Sequence[Image.Image]) -> str:
        if isinstance(error, InputError):
            return str(error)
        sizes = " and ".join(f"{image.width}×{image.height}" for image in shown)
        seen = f"a picture of {sizes}" if len(shown) == 1 else f"pictures of {sizes}"
        return (
            f"the processor of {self._model} does not take this question with "
            f"{seen if shown else 'no picture'} ({first_line(error)}); scale or cut the picture, "
            "or word the question differently"
        )

    def input_names(self) -> frozenset[str]:
        """Names of what the processor makes of a prompt, as far as it says and has shown."""
        return frozenset(self._names)

    def _check_number(self, numbers: set[int]) -> None:
        """Raise `InputError` for rows with these numbers of pictures."""
        if len(numbers) > 1:
            counts = " and ".join(map(str, sorted(numbers)))
            raise InputError(
                f"rows with {counts} pictures cannot share a batch; put rows with as many together"
            )
        (n,) = numbers
        if self.needs_image and n == 0:
            raise InputError(f"{self._model} takes no question without a picture; give one")
        if self._most_images is not None and n > self._most_images:
            raise InputError(
                f"{self._model} takes {self._most_images} picture in a prompt, not {n}; ask about "
                "one at a time, or choose a model that takes several (docs/models.md)"
            )

    def check_answer(self, answer: str) -> None:
        """Raise `InputError` for an answer that this model cannot say as it is written."""
        assert self.tokenizer is not None
        if self._end is not None and self._end in answer:
            raise InputError(
                f"the answer holds '{self._end}', at which answers of {self._model} end; word it "
                "differently"
            )
        ids = self.answer_ids(answer, -1)[:-1]
        marked = chats.marked([answer], self._markers)
        if marked is not None and not set(ids).isdisjoint(self.tokenizer.all_special_ids):
            raise InputError(
                f"the answer holds '{marked}', which marks parts of this model's prompt; word it "
                "differently"
            )
        if getattr(self.tokenizer, "unk_token_id", None) in ids:
            raise InputError(
                f"the answer {answer!r} holds characters that are not in the vocabulary of "
                f"{self._model}; word it differently"
            )

    def answer_ids(self, answer: str, eos: int) -> list[int]:
        """Token ids of an answer, the end-of-sequence token included, so that generation stops. A
        marker that it writes is text, where the tokenizer can do that."""
        assert self.tokenizer is not None
        text, how = self._prefix + answer, {"add_special_tokens": False}
        if chats.marked([answer], self._markers) is None:
            ids = self.tokenizer(text, **how)["input_ids"]
        else:
            try:
                ids = self.tokenizer(text, split_special_tokens=True, **how)["input_ids"]
            except (NotImplementedError, ValueError, TypeError):  # not every tokenizer can
                ids = self.tokenizer(text, **how)["input_ids"]
        if not ids:
            raise InputError(f"the answer {answer!r} has no tokens in this model's vocabulary")
        return [*ids, eos]

    def decode(self, generated: torch.Tensor | Sequence[Sequence[int]]) -> list[str]:
        """(B, new tokens) -> texts, without special tokens and outer spaces."""
        assert self.tokenizer is not None
        texts = self.tokenizer.batch_decode(generated, skip_special_tokens=True)
        if self._end is not None:
            texts = [t.split(self._end, 1)[0] for t in texts]
        return [t.strip() for t in texts]

    def answers(self, out: torch.Tensor, prompt: torch.Tensor) -> list[str]:
        """What `generate` gave, (B, tokens), for prompt ids (B, T) -> the answers' texts.

        Most models repeat the prompt before the answer, some give the answer only.
        """
        return self.decode(_behind(out, prompt))

    def said(
        self,
        out: torch.Tensor,
        prompt: torch.Tensor,
        ends: Collection[int],
        limits: Sequence[int],
    ) -> list[Said]:
        """What `generate` gave, as for `answers`, with the token ids of each answer up to its end:
        one of the tokens `ends`, the text at which answers are cut, or a placeholder of a picture
        (left out), which no prompt with an answer behind it could repeat. limits: tokens of each
        row that are its answer at most."""
        rows = [row[:n] for row, n in zip(_behind(out, prompt).tolist(), limits, strict=True)]
        made = []
        for text, row in zip(self.decode(rows), rows, strict=True):
            ids = self._ended(row, ends)
            made.append(Said(text, ids, cut=len(ids) == len(row) and not self._ends(ids, ends)))
        return made

    def said_alone(self, ids: Sequence[int], ends: Collection[int]) -> Said:
        """`said` of one answer's token ids, which came to an end of their own."""
        out = torch.tensor([[*ids]])
        return self.said(out, out[:, :0], ends, [len(ids)])[0]

    def _ends(self, ids: Sequence[int], ends: Collection[int]) -> bool:
        """Whether token ids come to an end of their own."""
        assert self.tokenizer is not None
        if not ids or ids[-1] in ends:
            return True
        return self._end is not None and self._end in self.tokenizer.decode(ids)

    def _ended(self, ids: list[int], ends: Collection[int]) -> tuple[int, ...]:
        assert self.tokenizer is not None
        last = next((i for i, token in enumerate(ids) if token in ends), len(ids) - 1)
        ids = list(takewhile(lambda token: token not in self._image_ids, ids[: last + 1]))
        if self._end is not None and self._end in self.tokenizer.decode(ids):
            at = range(1, len(ids) + 1)
            ids = ids[: next(n for n in at if self._end in self.tokenizer.decode(ids[:n]))]
        return tuple(ids)

    def _from_chat(
        self, images: Sequence[Sequence[Image.Image]], questions: Sequence[Asked]
    ) -> Mapping[str, Any]:
        style = self._style(questions)
        style.check(questions, self._model)
        conversations = [
            chats.messages(question, row, self._system, style.as_text)
            for row, question in zip(images, questions, strict=True)
        ]
        marked = chats.marked(questions, self._markers)
        try:
            batch: Mapping[str, Any] = self.processor.apply_chat_template(
                conversations,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                sanitize_control_tokens=marked is not None,
                processor_kwargs={"padding": True, "padding_side": "left"},
                **self._told,
            )
        except TemplateError as error:
            raise InputError(chats.refused(error, questions, self._system, self._model)) from error
        except (NotImplementedError, ValueError):  # not every tokenizer can do that
            chats.check_unmarked(questions, marked)
            raise
        return batch

    def _style(self, questions: Sequence[Asked]) -> chats.Style:
        """How the chat template wants more than a question; found out when that is first asked."""
        if self._system is None and all(isinstance(question, str) for question in questions):
            return chats.Style()
        template = str(self._told.get("chat_template") or chat_template(self.processor))
        if template not in self._styles:
            how = {"add_generation_prompt": True, "tokenize": False, **self._told}
            tell = partial(self.processor.apply_chat_template, **how)
            self._styles[template] = chats.style_of(lambda turns: str(tell(turns)))
        return self._styles[template]

    def _from_template(
        self, images: Sequence[Sequence[Image.Image]], questions: Sequence[Asked]
    ) -> Mapping[str, Any]:
        assert self._template is not None
        alone = chats.plain(questions, self._model)
        chats.check_unmarked(alone, chats.marked(alone, self._markers))
        template = self._template.replace("{image}", self._image_token * len(images[0]))
        texts = [template.replace("{question}", q) for q in alone]
        pictures = {"images": [list(row) for row in images]} if images[0] else {}
        batch: Mapping[str, Any] = self.processor(
            text=texts, **pictures, return_tensors="pt", padding=True, padding_side="left"
        )
        return batch


def _behind(out: torch.Tensor, prompt: torch.Tensor) -> torch.Tensor:
    """What `generate` gave (B, tokens) without the prompts (B, T) that it repeats, or does not."""
    out, prompt = out.cpu(), prompt.cpu()
    if out.shape[1] >= prompt.shape[1] and torch.equal(out[:, : prompt.shape[1]], prompt):
        return out[:, prompt.shape[1] :]
    return out
