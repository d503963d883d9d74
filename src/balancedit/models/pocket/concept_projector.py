"""From a picture's features to embeddings: what is seen, told in words, and then the cells.

Two classifiers look at a picture: one of our own, of drawn things, groceries and clothes, and the
vision tower's of ImageNet's thousand classes. Which of them is to be believed follows from both:
how the first divides the picture among its domains, and how often pictures of each domain look to
the second like what this one looks like (Bayes' rule with ImageNet's classes as the evidence). The
concepts' probabilities, sharpened, mix the word embeddings of their names, kinds and groups: the
language model reads them as words, also for a class that no picture was trained on.

Letters: P pictures, G cells a side, F features a cell, C concepts, L learned ones, I = 1000, D
width of the language model, S slots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from balancedit.models.pocket import concepts
from balancedit.models.pocket.concepts import LEARNED, LEVEL_SLOTS, NAME_SLOTS, pieces
from balancedit.models.pocket.efficientnet import HEAD_CHANNELS, PocketVisionTower

TRUNK = 1024
CLASSES = 1000
COLOURS = (
    *("black", "blue", "brown", "gray", "green", "orange"),
    *("pink", "purple", "red", "white", "yellow"),
)
COUNTS = ("none", "one", "two", "three", "four")
SLOTS = NAME_SLOTS + 2 * LEVEL_SLOTS + 2
SHARPNESS = 3.0  # the power that probabilities are raised to before they mix words


class Words(nn.Module):
    """A table of the words that slots can say. codes: (W, S, D); of: (C,), which word each concept
    has."""

    codes: Tensor
    of: Tensor

    def __init__(self, words: int, slots: int, width: int, of: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(words, slots, width))
        self.register_buffer("of", torch.tensor(of))

    def forward(self, probabilities: Tensor) -> Tensor:
        """(P, C) -> (P, W), the words' probabilities."""
        words = probabilities.new_zeros(len(probabilities), len(self.codes))
        return words.index_add(1, self.of, probabilities)

    def mixed(self, words: Tensor) -> Tensor:
        """(P, W) -> (P, S, D)."""
        return torch.einsum("pw,wsd->psd", words, self.codes.to(words.dtype))


class ConceptProjector(nn.Module):
    """(P, G·G, F) features to (P, S + G·G, D) embeddings."""

    mean: Tensor  # (F,) of the learned domains' cells
    std: Tensor  # (F,)
    classifier: Tensor  # (I, 1280), the vision tower's own, with `offset` (I,)
    offset: Tensor
    evidence: Tensor  # (I, domains learned): share of a domain's pictures that look so, times I
    doubt: Tensor  # (): how much evidence counts as none
    domain: Tensor  # (L, domains learned): which each concept is of

    def __init__(self, grid: int, hidden: int, width: int) -> None:
        super().__init__()
        features = PocketVisionTower.feature_size()
        every = concepts.concepts()
        learned = concepts.learned()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.register_buffer("classifier", torch.zeros(CLASSES, HEAD_CHANNELS))
        self.register_buffer("offset", torch.zeros(CLASSES))
        self.register_buffer("evidence", torch.ones(CLASSES, len(LEARNED)))
        self.register_buffer("doubt", torch.ones(()))
        domain = torch.tensor([LEARNED.index(c.domain) for c in every[:learned]])
        self.register_buffer("domain", F.one_hot(domain, len(LEARNED)).float())
        self.linear_1 = nn.Linear(features, hidden)
        self.linear_2 = nn.Linear(hidden, width)
        self.position = nn.Parameter(torch.zeros(grid * grid, width))
        self.trunk = nn.Sequential(
            nn.Dropout(0.1), nn.Linear(2 * features, TRUNK), nn.GELU(), nn.Dropout(0.3)
        )
        self.domains = nn.Linear(TRUNK, len(LEARNED))
        self.known = nn.Linear(TRUNK, learned)
        self.colour = nn.Linear(TRUNK, len(COLOURS))
        self.count = nn.Linear(TRUNK, len(COUNTS))
        self.names = _words([c.name for c in every], NAME_SLOTS, width)
        self.kinds = _words([c.kind for c in every], LEVEL_SLOTS, width)
        self.groups = _words([c.group for c in every], LEVEL_SLOTS, width)
        self.colours = Words(len(COLOURS) + 1, 1, width, [_colour(c.colour) for c in every])
        self.counts = Words(len(COUNTS) + 1, 1, width, [len(COUNTS)] * len(every))
        self.drawn = slice(0, sum(c.domain in ("nothing", "drawing") for c in every))

    @torch.no_grad()
    def complete(self, classifier: tuple[Tensor, Tensor], tokenizer: Any, words: Tensor) -> None:
        """Fill in what is not learned: the vision tower's classifier, weights (I, 1280) and offsets
        (I,), and the tables of words from the language model's embeddings, (vocabulary, D)."""
        self.classifier.copy_(classifier[0])
        self.offset.copy_(classifier[1])
        every = concepts.concepts()
        for table, texts in (
            (self.names, [c.name for c in every]),
            (self.kinds, [c.kind for c in every]),
            (self.groups, [c.group for c in every]),
        ):
            _fill(table, list(dict.fromkeys(texts)), tokenizer, words)
        _fill(self.colours, [*COLOURS, ""], tokenizer, words)
        _fill(self.counts, [*COUNTS, ""], tokenizer, words)

    def learned(self) -> dict[str, Tensor]:
        """The state without what `complete` fills in and what the concepts' list says."""
        given = ("classifier", "offset", "domain", "names", "kinds", "groups", "colours", "counts")
        return {k: v for k, v in self.state_dict().items() if k.split(".")[0] not in given}

    def forward(self, features: Tensor) -> Tensor:
        """(P, G·G, F) -> (P, S + G·G, D)."""
        standard = (features - self.mean) / self.std
        told = self.told(*self.seen(features, standard))
        return torch.cat([told, self.cells(standard)], dim=1)

    def cells(self, standard: Tensor) -> Tensor:
        """(P, G·G, F) standardised -> (P, G·G, D), a token for each cell."""
        return self.linear_2(F.gelu(self.linear_1(standard))) + self.position

    def pooled(self, standard: Tensor) -> Tensor:
        """(P, G·G, F) standardised -> (P, 2 F): the cells' mean and maximum, so that it matters
        little where a thing stands."""
        return torch.cat([standard.mean(1), standard.amax(1)], dim=-1)

    def classes(self, features: Tensor) -> Tensor:
        """(P, G·G, F) -> (P, I) log probabilities of ImageNet's classes."""
        pooled = features[..., :HEAD_CHANNELS].mean(1)
        return F.linear(pooled, self.classifier, self.offset).log_softmax(-1)

    def seen(self, features: Tensor, standard: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features as given and standardised, (P, G·G, F) each -> probabilities of the concepts
        (P, C), of the colour behind a drawing and of how many there are."""
        trunk = self.trunk(self.pooled(standard))
        domains = self.domains(trunk).softmax(-1)
        known = self.within(self.known(trunk)).exp() * (domains @ self.domain.T)
        classes = self.classes(features).exp()
        believed = (domains * (classes @ self.evidence)).sum(-1, keepdim=True)
        believed = believed / (believed + self.doubt)
        every = torch.cat([known * believed, classes * (1 - believed)], dim=-1)
        drawn = every[:, self.drawn].sum(-1, keepdim=True)
        colours = self._where_drawn(self.colours, every, drawn, self.colour(trunk))
        counts = self._where_drawn(self.counts, every, drawn, self.count(trunk))
        return every, colours, counts

    def within(self, logits: Tensor) -> Tensor:
        """(P, L) -> (P, L) log probabilities of each learned concept among those of its domain."""
        total = logits.new_zeros(len(logits), len(LEARNED))
        for number in range(len(LEARNED)):
            others = self.domain[:, number] == 0
            total[:, number] = logits.masked_fill(others, -torch.inf).logsumexp(-1)
        return logits - total @ self.domain.T

    def told(self, every: Tensor, colours: Tensor, counts: Tensor) -> Tensor:
        """What `seen` gives -> (P, S, D)."""
        tables = (self.names, self.kinds, self.groups)
        told = [table.mixed(_sharp(table(every))) for table in tables]
        told += [self.colours.mixed(_sharp(colours)), self.counts.mixed(_sharp(counts))]
        return torch.cat(told, dim=1)

    def _where_drawn(self, table: Words, every: Tensor, drawn: Tensor, logits: Tensor) -> Tensor:
        """A slot's words, (P, W): as a head says where the picture is drawn, else as the concepts
        have them."""
        photographed = every.clone()
        photographed[:, self.drawn] = 0
        head = F.pad(logits.softmax(-1), (0, 1))
        return table(photographed) + drawn * head


def _words(words: Sequence[str], slots: int, width: int) -> Words:
    different = list(dict.fromkeys(words))
    number = {word: n for n, word in enumerate(different)}
    return Words(len(different), slots, width, [number[word] for word in words])


def _fill(table: Words, words: Sequence[str], tokenizer: Any, embedding: Tensor) -> None:
    slots = table.codes.shape[1]
    ids = torch.tensor([pieces(tokenizer, word, slots) for word in words])
    table.codes.copy_(embedding[ids])


def _colour(name: str) -> int:
    return COLOURS.index(name) if name in COLOURS else len(COLOURS)


def _sharp(probabilities: Tensor) -> Tensor:
    """Probabilities raised to a power, their sum one."""
    raised = probabilities.clamp_min(1e-12) ** SHARPNESS
    return raised / raised.sum(-1, keepdim=True)
