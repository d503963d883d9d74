"""From images and questions to a model's inputs, and from its outputs back to text.

One `Prompter` serves one model: through the processor's own chat template, or through a plain
format string where the model has none. Batches are padded on the left, as decoding needs.

Letters: B = rows, T = tokens of the longest prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from balancedit.errors import InputError, ModelLoadError


class Prompter:
    """Prompts for one model.

    processor: a transformers processor with an image processor and a tokenizer.
    template: a format string with ``{question}`` and, where an image goes, ``{image}``; None takes
    the processor's chat template. system: an optional system message (chat template only).
    answer_prefix: what stands between the prompt and an answer, such as a space.
    """

    def __init__(
        self,
        processor: Any,
        *,
        template: str | None = None,
        system: str | None = None,
        answer_prefix: str = "",
    ) -> None:
        self.processor = processor
        self.tokenizer = getattr(processor, "tokenizer", None)
        if self.tokenizer is None or not hasattr(processor, "image_processor"):
            raise ModelLoadError(
                f"{type(processor).__name__} has no image processor beside its tokenizer; pass the "
                "model's image-text-to-text processor as processor="
            )
        chat = getattr(processor, "chat_template", None) or getattr(
            self.tokenizer, "chat_template", None
        )
        if template is None and not chat:
            raise ModelLoadError(
                f"{type(processor).__name__} has no chat template; pass prompt=, a format string "
                "with {image} and {question}, such as '{image}Question: {question} Answer:'"
            )
        self._template = template
        self._system = system
        self._prefix = answer_prefix

    def inputs(
        self, images: Sequence[Image.Image | None], questions: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """Model inputs of B prompts: ``input_ids`` and ``attention_mask`` (B, T), ``pixel_values``
        and whatever else the processor makes. All rows have an image, or none has."""
        with_image = images[0] is not None
        if any((i is not None) != with_image for i in images):
            raise ValueError("rows with and without an image cannot share a batch")
        if self._template is None:
            batch = self._from_chat(images, questions)
        else:
            batch = self._from_template(images, questions)
        return {k: v for k, v in batch.items() if isinstance(v, torch.Tensor)}

    def answer_ids(self, answer: str, eos: int) -> list[int]:
        """Token ids of an answer, the end-of-sequence token included, so that generation stops."""
        assert self.tokenizer is not None
        ids = self.tokenizer(self._prefix + answer, add_special_tokens=False)["input_ids"]
        if not ids:
            raise InputError(f"the answer {answer!r} has no tokens in this model's vocabulary")
        return [*ids, eos]

    def decode(self, generated: torch.Tensor) -> list[str]:
        """(B, new tokens) -> texts, without special tokens and outer spaces."""
        assert self.tokenizer is not None
        texts = self.tokenizer.batch_decode(generated, skip_special_tokens=True)
        return [t.strip() for t in texts]

    def answers(self, out: torch.Tensor, prompt: torch.Tensor) -> list[str]:
        """What `generate` gave, (B, tokens), for prompt ids (B, T) -> the answers' texts.

        Most models repeat the prompt before the answer, some give the answer only.
        """
        out, prompt = out.cpu(), prompt.cpu()
        if out.shape[1] >= prompt.shape[1] and torch.equal(out[:, : prompt.shape[1]], prompt):
            out = out[:, prompt.shape[1] :]
        return self.decode(out)

    def _from_chat(
        self, images: Sequence[Image.Image | None], questions: Sequence[str]
    ) -> Mapping[str, Any]:
        conversations = []
        for image, question in zip(images, questions, strict=True):
            content: list[dict[str, Any]] = [{"type": "text", "text": question}]
            if image is not None:
                content.insert(0, {"type": "image", "image": image})
            messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
            if self._system is not None:
                system = [{"type": "text", "text": self._system}]
                messages.insert(0, {"role": "system", "content": system})
            conversations.append(messages)
        batch: Mapping[str, Any] = self.processor.apply_chat_template(
            conversations,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            sanitize_control_tokens=True,  # a question cannot write image or turn markers
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
        return batch

    def _from_template(
        self, images: Sequence[Image.Image | None], questions: Sequence[str]
    ) -> Mapping[str, Any]:
        assert self._template is not None
        with_image = images[0] is not None
        marker = getattr(self.processor, "image_token", "") if with_image else ""
        texts = [
            self._template.replace("{image}", str(marker or "")).replace("{question}", q)
            for q in questions
        ]
        pictures = {"images": list(images)} if with_image else {}
        batch: Mapping[str, Any] = self.processor(
            text=texts, **pictures, return_tensors="pt", padding=True, padding_side="left"
        )
        return batch
