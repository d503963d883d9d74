"""The second training stage: a LoRA on the language model, together with the projector.

Every step's rows follow from its number, so a run that was killed goes on exactly where it was.

Letters: B rows, T tokens, N image tokens, D width, V vocabulary.
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

from balancedit.models.pocket import adapter, curriculum
from balancedit.models.pocket.curriculum import BLACK, Row
from balancedit.models.pocket.scenes import Scene

IMAGE_ROWS, FACT_ROWS, TEXT_ROWS = 48, 4, 2
TEXT_EVERY, TEXT_WEIGHT = 6, 0.02
LEARNING_RATES = (6e-4, 3e-4)  # LoRA, projector
WARM_UP, FLOOR = 20, 0.05
SAVE_EVERY = 25
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_LAYER = "base_model.model.model."


class Trainer:
    """Holds the two trainable parts, the renderings' features and the optimiser."""

    def __init__(
        self,
        language_model: nn.Module,
        tokenizer: Any,
        projector: nn.Module,
        features: Tensor,
        black: Tensor,
        shown: list[Scene],
        texts: list[tuple[str, str]],
    ) -> None:
        """features: (R, G·G, F) of the scenes `shown`; black: (G·G, F) of the black picture; texts:
        prompts with the untouched model's answers."""
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(
            r=adapter.RANK, lora_alpha=int(adapter.SCALE * adapter.RANK), target_modules=TARGETS
        )
        self._lm: Any = get_peft_model(language_model, settings)
        self._tokenizer, self.projector = tokenizer, projector.eval()  # no dropout in this stage
        self._features, self._black, self._shown, self._texts = features, black, shown, texts
        with torch.no_grad():
            self._image_tokens = self.projector(black[None].float()).shape[1]
        self._embedding = self._lm.get_input_embeddings().weight.detach()
        self._before = self._ids("<|im_start|>user\n")
        self._after = self._ids("<|im_end|>\n<|im_start|>assistant\n")
        self._end = self._ids("<|im_end|>")
        self._trained = [p for p in self._lm.parameters() if p.requires_grad]
        groups = [{"params": self._trained}, {"params": list(projector.parameters())}]
        self._optimiser = torch.optim.AdamW(groups, weight_decay=0.0)

    def run(
        self, steps: int, checkpoint: Path, advance: Callable[[int, float], None]
    ) -> list[float]:
        """Train up to `steps`, from `checkpoint` if it exists; the loss of each step, in nats an
        answer."""
        losses = self._resume(checkpoint)
        self._lm.train()
        for step in range(len(losses), steps):
            losses.append(self._step(step, steps))
            advance(step + 1, losses[-1])
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
                self._save(checkpoint, losses)
        return losses

    def low_rank(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer path in the language model -> (a, b)."""
        found: dict[str, tuple[Tensor, Tensor]] = {}
        for name, module in self._lm.named_modules():
            if hasattr(module, "lora_A") and len(module.lora_A):
                a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
                found[name.removeprefix(_LAYER)] = (a, b)
        return found

    def _step(self, step: int, steps: int) -> float:
        chance = Random(f"step{step}")
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        share = min(1.0, (step + 1) / WARM_UP) * (FLOOR + (1 - FLOOR) * cosine)
        for group, rate in zip(self._optimiser.param_groups, LEARNING_RATES, strict=True):
            group["lr"] = rate * share
        everyone = IMAGE_ROWS + FACT_ROWS
        images = curriculum.image_rows(self._shown, IMAGE_ROWS, step, chance)
        facts = curriculum.fact_rows(self._shown, FACT_ROWS, chance)
        self._optimiser.zero_grad()
        loss = self._loss(images)
        (loss * IMAGE_ROWS / everyone).backward()
        (self._loss(facts) * FACT_ROWS / everyone).backward()
        if step % TEXT_EVERY == 0:
            rows = [Row(None, *chance.choice(self._texts)) for _ in range(TEXT_ROWS)]
            (self._loss(rows) * TEXT_WEIGHT).backward()
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimiser.step()
        return float(loss.item())

    def _loss(self, rows: list[Row]) -> Tensor:
        """Nats an answer, the end token included; the head runs at answer positions only."""
        embeds, mask, labels = self._batch(rows)
        hidden = self._lm.base_model.model.model(
            inputs_embeds=embeds, attention_mask=mask, use_cache=False
        ).last_hidden_state
        scored = labels[:, 1:] != -100
        logits = F.linear(hidden[:, :-1][scored], self._embedding)  # (answer tokens, V)
        return F.cross_entropy(logits, labels[:, 1:][scored], reduction="sum") / len(rows)

    def _batch(self, rows: list[Row]) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (B, T, D), mask (B, T) and labels (B, T) of prompts with answers."""
        tokens = self._image_tokens
        parts = []
        for row in rows:
            picture = [] if row.rendering is None else [-1] * tokens
            prompt = self._before + picture + self._ids(row.prompt) + self._after
            parts.append((prompt, self._ids(row.answer) + self._end))
        length = max(len(prompt) + len(answer) for prompt, answer in parts)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
        for number, (prompt, answer) in enumerate(parts):
            end = len(prompt) + len(answer)
            ids[number, :end] = torch.tensor(prompt + answer)
            labels[number, len(prompt) : end] = torch.tensor(answer)
            mask[number, :end] = 1
        embeds = F.embedding(ids.clamp_min(0), self._embedding)
        shown = [
            self._black if row.rendering == BLACK else self._features[row.rendering]
            for row in rows
            if row.rendering is not None
        ]
        if shown:
            projected = self.projector(torch.stack(shown).float())
            embeds = embeds.masked_scatter((ids == -1)[..., None], projected)
        return embeds, mask, labels

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    # -- checkpoints -------------------------------------------------------------------------

    def _named(self) -> dict[str, nn.Parameter]:
        named = {f"lora.{n}": p for n, p in self._lm.named_parameters() if p.requires_grad}
        return named | {f"projector.{n}": p for n, p in self.projector.named_parameters()}

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
                key.split("|", 1)[1]: value
                for key, value in tensors.items()
                if key.startswith(f"{name}|")
            }
        losses: list[float] = tensors["losses"].tolist()
        return losses
