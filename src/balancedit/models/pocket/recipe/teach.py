"""The last training stage: a LoRA on the language model, which learns to read the concepts' words
and to talk.

What the classifiers say is made up here (mostly right, now and then torn between two concepts), so
that the language model says what is told it, of classes too that no picture shows; the cells beside
are of a picture of the concept where there is one, else of another's.

Every step's rows follow from its number, so a run that was killed goes on exactly where it was.

Letters: B rows, T tokens, N image tokens a picture, D width, V vocabulary, G cells a side, F
features, C concepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from balancedit.models.pocket import adapter
from balancedit.models.pocket.concept_projector import COLOURS, COUNTS, ConceptProjector
from balancedit.models.pocket.concepts import concepts
from balancedit.models.pocket.recipe.plain_texts import REPLY, USER
from balancedit.models.pocket.recipe.taught_rows import Pictures, Row, Rows

ROWS, FACT_ROWS, TEXT_ROWS, PART = 40, 5, 4, 10  # facts at even steps, texts at odd ones
FACT_WEIGHT, TEXT_WEIGHT = 0.3, 1.0
LEARNING_RATE, WARM_UP = 5e-4, 10
SAVE_EVERY = 10
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_LAYER = "base_model.model.model."


class Teacher:
    """Holds the language model, the projector and the optimiser."""

    def __init__(
        self,
        language_model: nn.Module,
        tokenizer: Any,
        projector: ConceptProjector,
        pictures: Pictures,
        texts: Sequence[str],
        start: dict[str, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        """texts: plain conversations, in chat format. start: a LoRA to begin with, layer path ->
        (a, b). The language model's weights are in bfloat16."""
        from peft import LoraConfig, get_peft_model

        settings = LoraConfig(
            r=adapter.RANK, lora_alpha=int(adapter.SCALE * adapter.RANK), target_modules=TARGETS
        )
        self._embedding = language_model.get_input_embeddings().weight.detach()  # type: ignore
        self._lm: Any = get_peft_model(language_model, settings)
        self._tokenizer, self._projector = tokenizer, projector.eval()
        self._pictures, self._rows = pictures, Rows(pictures)
        self._numbers = {(c.domain, c.key): n for n, c in enumerate(concepts())}
        self._before, self._after = self._ids(USER), self._ids(REPLY)
        self._end, self._next = self._ids("<|im_end|>"), self._ids("\n" + USER)
        self._texts = [self._ids(text) for text in texts]
        self._trained = [p for p in self._lm.parameters() if p.requires_grad]
        self._optimiser = torch.optim.AdamW(self._trained, weight_decay=0.0)
        if start:
            self._begin_with(start)

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
        return {
            name.removeprefix(_LAYER): (
                module.lora_A["default"].weight,
                module.lora_B["default"].weight,
            )
            for name, module in self._lm.named_modules()
            if hasattr(module, "lora_A") and len(module.lora_A)
        }

    @torch.no_grad()
    def _begin_with(self, start: dict[str, tuple[Tensor, Tensor]]) -> None:
        for name, (a, b) in self.low_rank().items():
            a.copy_(start[name][0])
            b.copy_(start[name][1])

    def _step(self, step: int, steps: int) -> float:
        chance = Random(f"step{step}")
        cosine = 0.53 + 0.47 * math.cos(math.pi * step / steps)
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP) * cosine
        self._optimiser.zero_grad()
        rows = self._rows.some(ROWS, chance)
        answers = sum(len(row.turns) for row in rows)
        rows.sort(key=lambda row: sum(len(t.question) + len(t.answer) for t in row.turns))
        total = 0.0
        for at in range(0, ROWS, PART):
            loss = self._loss(rows[at : at + PART], chance) / answers
            loss.backward()
            total += float(loss.item())
        if step % 2 == 0:
            facts = self._rows.some(FACT_ROWS, chance, facts=True)
            (self._loss(facts, chance) * FACT_WEIGHT / FACT_ROWS).backward()
        else:
            texts = chance.choices(self._texts, k=TEXT_ROWS)
            (self._divergence(texts) * TEXT_WEIGHT).backward()
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimiser.step()
        return total

    def _loss(self, rows: list[Row], chance: Random) -> Tensor:
        """Nats of all answers, their end tokens included."""
        embeds, mask, labels = self._batch(rows, chance)
        scored = labels[:, 1:] != -100
        logits = self._logits(embeds, mask, scored)
        return F.cross_entropy(logits, labels[:, 1:][scored], reduction="sum")

    def _divergence(self, texts: list[list[int]]) -> Tensor:
        """Nats a token that the trained model diverges from the untouched one, on plain text."""
        ids, mask = self._padded(texts)
        embeds, scored = F.embedding(ids, self._embedding), mask[:, 1:] == 1
        with torch.no_grad(), self._lm.disable_adapter():
            wanted = self._logits(embeds, mask, scored).log_softmax(-1)
        predicted = self._logits(embeds, mask, scored).log_softmax(-1)
        return F.kl_div(predicted, wanted, log_target=True, reduction="batchmean")

    def _logits(self, embeds: Tensor, mask: Tensor, scored: Tensor) -> Tensor:
        """embeds: (B, T, D), mask: (B, T), scored: (B, T - 1) -> (scored positions, V) in float32,
        each from the state before the token that is scored."""
        with torch.autocast(embeds.device.type, torch.bfloat16):
            hidden = self._lm.base_model.model.model(
                inputs_embeds=embeds, attention_mask=mask, use_cache=False
            ).last_hidden_state
            return F.linear(hidden[:, :-1][scored], self._embedding).float()

    def _batch(self, rows: list[Row], chance: Random) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (B, T, D), mask (B, T) and labels (B, T) of conversations."""
        projected = self._project(rows, chance).to(self._embedding.dtype)
        picture = [-1] * projected.shape[1]
        sequences: list[list[int]] = []
        wanted: list[list[int]] = []
        for row in rows:
            ids, labels = self._before + picture, [-100] * (len(self._before) + len(picture))
            for number, turn in enumerate(row.turns):
                asked = (self._next if number else []) + self._ids(turn.question) + self._after
                answer = self._ids(turn.answer) + self._end
                ids, labels = ids + asked + answer, labels + [-100] * len(asked) + answer
            sequences.append(ids)
            wanted.append(labels)
        ids_of, mask = self._padded(sequences)
        labels_of = torch.full_like(ids_of, -100)
        for number, labels in enumerate(wanted):
            labels_of[number, : len(labels)] = torch.tensor(labels)
        embeds = F.embedding(ids_of.clamp_min(0), self._embedding)
        return embeds.masked_scatter((ids_of == -1)[..., None], projected), mask, labels_of

    @torch.no_grad()
    def _project(self, rows: list[Row], chance: Random) -> Tensor:
        """(B, N, D) image tokens."""
        shown = torch.stack(
            [
                self._pictures.black if r.picture < 0 else self._pictures.features[r.picture]
                for r in rows
            ]
        ).float()
        cells = self._projector.cells((shown - self._projector.mean) / self._projector.std)
        told = self._projector.told(*self._posterior(rows, chance))
        return torch.cat([told, cells], dim=1)

    def _posterior(self, rows: list[Row], chance: Random) -> tuple[Tensor, Tensor, Tensor]:
        """What the classifiers might say: probabilities of concepts (B, C), colours and counts."""
        every, some = concepts(), torch.zeros
        concept = some(len(rows), len(every))
        colour, count = some(len(rows), len(COLOURS) + 1), some(len(rows), len(COUNTS) + 1)
        for at, row in enumerate(rows):
            seen = row.seen.concept
            mine = self._numbers[seen.domain, seen.key]
            sure = 1.0 if chance.random() < 0.4 else chance.uniform(0.5, 1.0)
            concept[at, mine] += sure
            concept[at, self._beside(mine, chance)] += (1 - sure) * 0.7
            concept[at, chance.randrange(len(every))] += (1 - sure) * 0.3
            if seen.domain in ("drawing", "nothing"):
                colour[at, COLOURS.index(row.seen.background or "black")] = 1
                count[at, row.seen.count] = 1
            else:
                colour[at, self._projector.colours.of[mine]] = 1
                count[at, len(COUNTS)] = 1
        return concept, colour, count

    def _beside(self, number: int, chance: Random) -> int:
        """Another concept of the same kind, or of the same domain."""
        every, mine = concepts(), concepts()[number]
        like = [
            n
            for n, c in enumerate(every)
            if c.domain == mine.domain and c.kind == mine.kind and c.group == mine.group
        ]
        return chance.choice(like)

    def _padded(self, sequences: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Token ids (B, T), zeros on the right, and their mask (B, T)."""
        length = max(map(len, sequences))
        ids = torch.tensor([s + [0] * (length - len(s)) for s in sequences])
        mask = torch.tensor([[1] * len(s) + [0] * (length - len(s)) for s in sequences])
        return ids, mask

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
