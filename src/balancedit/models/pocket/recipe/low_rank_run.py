"""A resumable run that trains a LoRA on the language model; what its steps teach is a subclass's.

Letters: B rows, T tokens, D width, V vocabulary, R rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from balancedit.models.pocket import adapter
from balancedit.models.pocket.recipe.plain_texts import REPLY, USER

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_LAYER = "base_model.model.model."


class LowRankRun:
    """Holds the language model with its LoRA, and the optimiser.

    Every step's rows must follow from its number alone, so that a run that was killed goes on
    exactly where it was.
    """

    def __init__(self, language_model: nn.Module, tokenizer: Any, texts: Sequence[str]) -> None:
        """texts: plain conversations, in chat format, on which the model keeps its voice."""
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(
            r=adapter.RANK, lora_alpha=int(adapter.SCALE * adapter.RANK), target_modules=TARGETS
        )
        self._lm: Any = get_peft_model(language_model, settings)
        self._tokenizer = tokenizer
        self._embedding: Tensor = self._lm.get_input_embeddings().weight.detach()
        self._before, self._after = self._ids(USER), self._ids(REPLY)
        self._end = self._ids("<|im_end|>")
        self._texts = [self._ids(text) for text in texts]
        self._trained = [p for p in self._lm.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(self._trained, weight_decay=0.0)

    def low_rank(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Layer path in the language model -> (a, b)."""
        return {
            name.removeprefix(_LAYER): (
                module.lora_A["default"].weight,
                module.lora_B["default"].weight,
            )
            for name, module in self._lm.named_modules()
            if hasattr(module, "lora_A") and len(module.lora_A)
        }

    def _run(
        self,
        step: Callable[[int], float],
        steps: int,
        checkpoint: Path,
        save_every: int,
        advance: Callable[[int, float], None],
    ) -> list[float]:
        """Train up to `steps`, from `checkpoint` if it exists; the loss of each, as `step` gives
        it. advance: called with the number of steps done and the last loss."""
        losses = self._resume(checkpoint)
        self._lm.train()
        for number in range(len(losses), steps):
            losses.append(step(number))
            advance(number + 1, losses[-1])
            if (number + 1) % save_every == 0 or number + 1 == steps:
                self._save(checkpoint, losses)
        return losses

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

    def _padded(self, sequences: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Token ids (B, T), zeros on the right, and their mask (B, T)."""
        length = max(map(len, sequences))
        ids = torch.tensor([s + [0] * (length - len(s)) for s in sequences])
        mask = torch.tensor([[1] * len(s) + [0] * (length - len(s)) for s in sequences])
        return ids.to(self._embedding.device), mask.to(self._embedding.device)

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
