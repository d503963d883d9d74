"""The second training stage: a LoRA on the language model, with the aligned projector as it is.

Training the projector further would fit it to the training renderings.

Every step's rows follow from its number, so a run that was killed goes on exactly where it was.

Letters: B rows, T tokens, N image tokens a picture, D width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from balancedit.models.pocket import adapter
from balancedit.models.pocket.recipe import curriculum
from balancedit.models.pocket.recipe.curriculum import BLACK, Row
from balancedit.models.pocket.recipe.plain_texts import REPLY, USER
from balancedit.models.pocket.scenes import Scene

IMAGE_ROWS, FACT_ROWS, TEXT_ROWS = 64, 8, 4  # facts at even steps, texts at odd ones
FACT_WEIGHT = 0.25  # of a nat an answer, beside the image rows'
TEXT_WEIGHT = 1.0  # of a nat of divergence a token
LEARNING_RATE = 6e-4
WARM_UP, DECAY = 20, 500  # steps; the rate falls along a cosine, whose end is not waited for
SAVE_EVERY = 50
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_LAYER = "base_model.model.model."


class Trainer:
    """Holds the model, the renderings' features and the optimiser."""

    def __init__(
        self,
        language_model: nn.Module,
        tokenizer: Any,
        projector: nn.Module,
        features: Tensor,
        black: Tensor,
        shown: list[Scene],
        texts: list[str],
    ) -> None:
        """features: (R, G·G, F) of the scenes `shown`; black: (G·G, F) of the black picture; texts:
        plain conversations, in chat format. All tensors and both modules are on one device."""
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(
            r=adapter.RANK, lora_alpha=int(adapter.SCALE * adapter.RANK), target_modules=TARGETS
        )
        self._lm: Any = get_peft_model(language_model, settings)
        self._tokenizer, self._projector = tokenizer, projector.eval()
        self._features, self._black, self._shown = features, black, shown
        self._image_tokens = self._project([BLACK]).shape[1]
        self._embedding = self._lm.get_input_embeddings().weight.detach()
        self._before = self._ids(USER)
        self._after = self._ids(REPLY)
        self._end = self._ids("<|im_end|>")
        self._texts = [self._ids(text) for text in texts]
        self._trained = [p for p in self._lm.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(self._trained, weight_decay=0.0)

    def run(
        self, steps: int, checkpoint: Path, advance: Callable[[int, float], None]
    ) -> list[float]:
        """Train up to `steps`, from `checkpoint` if it exists; the loss of each step, in nats an
        answer."""
        losses = self._resume(checkpoint)
        self._lm.train()
        for step in range(len(losses), steps):
            losses.append(self._step(step))
            advance(step + 1, losses[-1])
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
                self._save(checkpoint, losses)
        return losses

    def low_rank(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer path in the language model -> (a, b)."""
        factors: dict[str, tuple[Tensor, Tensor]] = {}
        for name, module in self._lm.named_modules():
            if hasattr(module, "lora_A") and len(module.lora_A):
                a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
                factors[name.removeprefix(_LAYER)] = (a, b)
        return factors

    def _step(self, step: int) -> float:
        chance = Random(f"step{step}")
        cosine = 0.525 + 0.475 * math.cos(math.pi * min(1.0, step / DECAY))
        share = min(1.0, (step + 1) / WARM_UP) * cosine
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * share
        self._optimiser.zero_grad()
        loss = self._loss(curriculum.image_rows(self._shown, IMAGE_ROWS, chance))
        loss.backward()
        if step % 2 == 0:
            facts = curriculum.fact_rows(self._shown, FACT_ROWS, chance)
            (self._loss(facts) * FACT_WEIGHT).backward()
        else:
            texts = chance.choices(self._texts, k=TEXT_ROWS)
            (self._divergence(texts) * TEXT_WEIGHT).backward()
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimiser.step()
        return float(loss.item())

    def _loss(self, rows: list[Row]) -> Tensor:
        """Nats an answer, the end token included; the head runs at answer positions only."""
        embeds, mask, labels = self._batch(rows)
        scored = labels[:, 1:] != -100
        logits = self._logits(embeds, mask, scored)  # (answer tokens, V)
        return F.cross_entropy(logits, labels[:, 1:][scored], reduction="sum") / len(rows)

    def _divergence(self, texts: list[list[int]]) -> Tensor:
        """Nats a token that the trained model diverges from the untouched one, on plain text."""
        ids, mask = self._padded(texts)
        embeds, scored = F.embedding(ids, self._embedding), mask[:, 1:] == 1
        with torch.no_grad(), self._lm.disable_adapter():
            wanted = self._logits(embeds, mask, scored).log_softmax(-1)
        predicted = self._logits(embeds, mask, scored).log_softmax(-1)
        return F.kl_div(predicted, wanted, log_target=True, reduction="batchmean")

    def _logits(self, embeds: Tensor, mask: Tensor, scored: Tensor) -> Tensor:
        """embeds: (B, T, D), mask: (B, T), scored: (B, T - 1) -> (scored positions, V), each from
        the state before the token that is scored."""
        hidden = self._lm.base_model.model.model(
            inputs_embeds=embeds, attention_mask=mask, use_cache=False
        ).last_hidden_state
        return F.linear(hidden[:, :-1][scored], self._embedding)

    def _batch(self, rows: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (B, T, D), mask (B, T) and labels (B, T) of prompts with answers."""
        sequences, answers = [], []
        picture = [-1] * self._image_tokens
        for row in rows:
            answers.append(self._ids(row.answer) + self._end)
            asked = picture + self._ids(row.prompt)
            sequences.append(self._before + asked + self._after + answers[-1])
        ids, mask = self._padded(sequences)
        labels = torch.full_like(ids, -100)
        for number, (sequence, answer) in enumerate(zip(sequences, answers, strict=True)):
            at = slice(len(sequence) - len(answer), len(sequence))
            labels[number, at] = ids[number, at]
        embeds = F.embedding(ids.clamp_min(0), self._embedding)
        projected = self._project([row.rendering for row in rows])
        return embeds.masked_scatter((ids == -1)[..., None], projected), mask, labels

    def _padded(self, sequences: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Token ids (B, T), zeros on the right, and their mask (B, T)."""
        length = max(map(len, sequences))
        ids = torch.tensor([s + [0] * (length - len(s)) for s in sequences])
        mask = torch.tensor([[1] * len(s) + [0] * (length - len(s)) for s in sequences])
        return ids.to(self._black.device), mask.to(self._black.device)

    @torch.no_grad()
    def _project(self, renderings: list[int]) -> Tensor:
        """Numbers of renderings, or BLACK -> (B, N, D) image tokens."""
        shown = [self._black if n == BLACK else self._features[n] for n in renderings]
        return self._projector(torch.stack(shown).float())

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    # -- checkpoints -------------------------------------------------------------------------

    def _named(self) -> dict[str, nn.Parameter]:
        return {f"lora.{n}": p for n, p in self._lm.named_parameters() if p.requires_grad}

    def _save(self, path: Path, losses: list[float]) -> None:
        tensors = {"losses": torch.tensor(losses, dtype=torch.float64)}
        for name, parameter in self._named().items():
            tensors[name] = parameter.detach().contiguous()
            for key, value in self._optimiser.state[parameter].items():
                tensors[f"{name}|{key}"] = value.detach().clone()
        partial = path.with_suffix(".partial")
        save_file(tensors, partial)
        partial.replace(path)

    @torch.no_grad()
    def _resume(self, path: Path) -> list[float]:
        if not path.exists():
            return []
        tensors = load_file(path)
        for name, parameter in self._named().items():
            parameter.copy_(tensors[name])
            self._optimiser.state[parameter] = {
                key.split("|", 1)[1]: value.to(parameter.device) if value.dim() else value
                for key, value in tensors.items()
                if key.startswith(f"{name}|")
            }
        losses: list[float] = tensors["losses"].tolist()
        return losses
