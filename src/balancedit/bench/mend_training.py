"""Training MEND's network: on edits whose rephrasings and locality probes are known.

For each edit the network makes an update of the edited layer's weight; the loss asks that the
updated model answer a rephrasing and another picture with the target (NLL), and answer locality
probes as before (KL divergence). Gradients reach the network through the updated weight.

Nothing of the model itself changes, so the edits' gradients, and what the model makes of every
probe up to the edited layer, are worked out once before the first step (`last_block.py`). Every
random choice follows from the seed and the step's number, so a run that was killed and goes on ends
where it would have ended.

Source: Mitchell et al., *Fast Model Editing at Scale* (2022), Section 3.2 and its repository, with
the losses of EasyEdit's version for vision-language models.

Letters: A = tokens of one answer, V = vocabulary.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

from balancedit.bench.last_block import Group, Replay, Scored, replay_for
from balancedit.bench.protocols import REACH, probes
from balancedit.codebook.pooling import last_key
from balancedit.data.sample import EditSample
from balancedit.errors import InputError, ResultsError
from balancedit.files.durable import write_durably
from balancedit.files.journal import Journal
from balancedit.layer.edited import EditedLayer
from balancedit.layer.paths import ancestors, resolve_layer
from balancedit.layer.router import Router
from balancedit.learning.loop import frozen
from balancedit.methods.mend import Gradients, gradients
from balancedit.methods.mend_network import MendNetwork, TrainedFor, save_network
from balancedit.methods.presets import alike
from balancedit.models.loading import LoadedModel

NETWORK, UNTRAINED, STATE = "mend.safetensors", "untrained.safetensors", "state.safetensors"


@dataclass(frozen=True)
class MendTraining:
    """How a network is trained. Numbers without another source are the MEND repository's."""

    rank: int = 1920  # of the low-rank layers, at most the sum of the weight's widths
    edit_lr: float = 1e-4  # where the learned step size of an update starts
    lr: float = 1e-6  # Adam step size of the network
    lr_lr: float = 1e-4  # Adam step size of the learned step size
    reach: float = 0.1  # weight of each of the two NLL terms
    keep: float = 1.0  # weight of the KL term
    locality: int = 2  # locality probes an edit, each of another kind (EasyEdit: text and picture)
    accumulate: int = 10  # edits that make the gradient of one Adam step
    clip: float = 100.0  # norm above which a gradient is scaled down
    steps: int = 10_000  # Adam steps at most
    check: int = 100  # Adam steps between two looks at the validation edits
    patience: int = 20  # looks without a better validation loss after which training stops
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rank", "locality", "accumulate", "steps", "check", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("edit_lr", "lr", "lr_lr", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; give a positive number")
        for name in ("reach", "keep"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; a weight is 0 or more")

    def lasting(self) -> dict[str, Any]:
        """What makes two runs the same: all but when to stop, so that a run can be prolonged."""
        return {k: v for k, v in asdict(self).items() if k not in ("steps", "patience")}


#: Named settings. The source's Adam step sizes are for models a hundred times as large.
PRESETS: dict[str, MendTraining] = {
    "recommended": MendTraining(rank=128, lr=1e-4, lr_lr=1e-3),
    **alike(MendTraining()),
}


@dataclass(frozen=True)
class Losses:
    """Mean losses of some edits. rephrased, redrawn: nats a token; moved: KL divergence, nats."""

    total: float
    rephrased: float
    redrawn: float
    moved: float

    @classmethod
    def mean(cls, parts: Sequence[tuple[int, Losses]]) -> Losses:
        """Of parts of so many edits each."""
        total = sum(n for n, _ in parts)
        names = [f.name for f in fields(cls)]
        return cls(*(sum(n * getattr(part, name) for n, part in parts) / total for name in names))


class _Row(NamedTuple):
    """A probe as the replay wants it, and its answer's token ids with the end token."""

    encoded: Any
    answer: Sequence[int]


@dataclass(frozen=True)
class _Prepared:
    """An edit, and its probes by what they measure, each encoded with its answer's ids."""

    id: str
    found: Gradients
    rows: dict[str, list[_Row]]


class _Drawn(NamedTuple):
    """What the loss of one edit is made of: its gradients, two probes that it must reach, and
    encoded ones that it must leave alone."""

    found: Gradients
    rephrased: _Row
    redrawn: _Row
    kept: Sequence[Any]


@dataclass
class _Progress:
    """Where training stands; what a run that was killed goes on from."""

    step: int = 0
    best_step: int = 0
    best: float = math.inf  # validation loss at best_step
    checks_since: int = 0


def split(samples: Sequence[EditSample], n: int) -> tuple[list[EditSample], list[EditSample]]:
    """(training, validation): the last n edits are held out, and of the others those that show a
    thing which a held-out one shows are left out. Raises `InputError` where nothing is left."""
    if not 1 <= n < len(samples):
        raise InputError(
            f"{n} validation edits cannot be held out of {len(samples)}; give 1 to "
            f"{len(samples) - 1}"
        )
    validation = list(samples[-n:])
    shown = {sample.shows for sample in validation}
    training = [sample for sample in samples[:-n] if sample.shows not in shown]
    if not training:
        raise InputError(
            "the validation edits show everything that there is to train on; hold out fewer"
        )
    return training, validation


class MendTrainer:
    """One training run, kept in the journal's directory.

    advance: called with a description after each edit that is prepared and each step.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        training: Sequence[EditSample],
        validation: Sequence[EditSample],
        config: MendTraining,
        journal: Journal,
        advance: Callable[[str], None],
    ) -> None:
        layer = resolve_layer(loaded.model, loaded.layer)
        router = Router(ancestors(loaded.model, loaded.layer), layer, last_key, None)
        self._loaded, self._config, self._advance = loaded, config, advance
        self._samples, self._held_out = training, validation
        self._layer = EditedLayer(layer, router)
        self._base = self._layer.base_weight
        d_out, d_in = self._base.shape
        self.network = MendNetwork(d_in, d_out, config.rank, config.edit_lr, config.seed)
        self.network.to(loaded.device).belong_to(self._base)
        others = [p for name, p in self.network.named_parameters() if name != "lr"]
        self._adam = torch.optim.Adam(
            [
                {"params": others, "lr": config.lr},
                {"params": [self.network.lr], "lr": config.lr_lr},
            ]
        )
        self._journal, self._directory = journal, journal.directory
        self._logged = {(row["step"], row["of"]) for row in journal.rows()}
        self._progress = _Progress()
        self._best: dict[str, torch.Tensor] = {}
        self._replay: Replay | None = None
        self._resume()

    def remaining(self) -> int:
        """How many calls of `advance` there are still to come, at most."""
        edits = len(self._samples) + len(self._held_out)
        return edits + max(0, self._config.steps - self._progress.step)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to train."""
        progress, config = self._progress, self._config
        return progress.step >= config.steps or progress.checks_since >= config.patience

    def run(self) -> int:
        """Train to the end; the step of the best network, which `save` then writes. Raises
        `EditFailedError` and `ResultsError`."""
        if not self.finished:
            with frozen(self._loaded.model):
                self._train()
        return self._progress.best_step

    def _train(self) -> None:
        training = [self._prepared(sample) for sample in self._samples]
        validation = [self._prepared(sample) for sample in self._held_out]
        if not self._best:
            for edit in training:
                self.network.observe(edit.found.u, edit.found.delta)
            self._check(validation)
        while not self.finished:
            self._progress.step += 1
            losses = self._step(training)
            self._log("training", losses)
            self._advance(f"step {self._progress.step}, loss {losses.total:.4f}")
            if self._progress.step % self._config.check == 0 or self.finished:
                self._check(validation)

    def save(self, path: Path, trained_for: TrainedFor) -> None:
        """Write the network that was best on the validation edits. Raises OSError."""
        now = {name: t.clone() for name, t in self.network.state_dict().items()}
        self.network.load_state_dict(self._best)
        save_network(path, self.network, trained_for)
        self.network.load_state_dict(now)

    def save_untrained(self, path: Path, trained_for: TrainedFor) -> None:
        """Write the network as it was before the first step, its normalisation measured. Raises
        OSError."""
        config = self._config
        fresh = MendNetwork(
            self.network.d_in, self.network.d_out, config.rank, config.edit_lr, config.seed
        )
        for name, buffer in self.network.named_buffers():
            fresh.get_buffer(name).copy_(buffer)
        save_network(path, fresh, trained_for)

    # -- the edits ---------------------------------------------------------------------------

    def _prepared(self, sample: EditSample) -> _Prepared:
        """An edit's gradients, and its probes up to the edited layer."""
        loaded = self._loaded
        asked = probes(sample)
        answers = [self._ids(sample.target) for p in asked if p.measures in REACH]
        answers += [self._ids(probe.answer) for probe in sample.locality]
        inputs = loaded.to_device(loaded.prompter.inputs([asked[0].image], [sample.question]))
        found = gradients(loaded.model, self._layer.layer, inputs, answers[0])
        scored = [Scored(p.image, p.question, a) for p, a in zip(asked, answers, strict=True)]
        if self._replay is None:
            self._replay = replay_for(loaded, self._layer, scored[:2])
        rows: dict[str, list[_Row]] = {}
        for probe, encoded, ids in zip(asked, self._replay.encode(scored), answers, strict=True):
            rows.setdefault(probe.measures, []).append(_Row(encoded, ids))
        self._advance("reading the edits")
        return _Prepared(sample.id, found, rows)

    def _ids(self, answer: str | None) -> Sequence[int]:
        """An answer's token ids; where none is known, only the first token is looked at."""
        eos = self._loaded.eos
        return self._loaded.prompter.answer_ids(answer, eos) if answer else [eos]

    # -- the loss ----------------------------------------------------------------------------

    def _step(self, training: Sequence[_Prepared]) -> Losses:
        """One Adam step on edits that the step's number chooses."""
        config = self._config
        chance = Random(f"{config.seed}/{self._progress.step}")
        chosen = chance.sample(training, min(config.accumulate, len(training)))
        self._adam.zero_grad()
        loss, losses = self._loss([self._draw(edit, chance) for edit in chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self._adam.step()
        return losses

    def _draw(self, edit: _Prepared, chance: Random) -> _Drawn:
        """A rephrasing, another picture (the edit's own query where it has none), and locality
        probes of different kinds."""
        rephrased, redrawn = (
            chance.choice(edit.rows.get(name) or edit.rows["Acc"]) for name in ("T-Gen", "I-Gen")
        )
        kinds = sorted(edit.rows.keys() - set(REACH))
        kinds = chance.sample(kinds, min(self._config.locality, len(kinds)))
        kept = [chance.choice(edit.rows[kind]).encoded for kind in kinds]
        return _Drawn(edit.found, rephrased, redrawn, kept)

    def _loss(self, drawn: Sequence[_Drawn]) -> tuple[torch.Tensor, Losses]:
        """The mean loss of some edits, with gradients to the network."""
        assert self._replay is not None
        reach, keep = self._config.reach, self._config.keep
        groups = [
            Group(
                [d.rephrased.encoded, d.redrawn.encoded, *d.kept],
                self._base + self.network(d.found.u, d.found.delta),
            )
            for d in drawn
        ]
        said = iter(self._replay.logits(groups))
        with torch.no_grad():
            kept = [row for d in drawn for row in d.kept]
            before = iter(self._replay.logits([Group(kept, None)]) if kept else ())
        terms = []  # of each edit: rephrased, redrawn, moved
        for d in drawn:
            terms += [_nll(next(said), d.rephrased.answer), _nll(next(said), d.redrawn.answer)]
            moved = [_divergence(next(before), next(said)) for _ in d.kept]
            terms.append(torch.cat(moved).mean() if moved else torch.zeros_like(terms[0]))
        rephrased, redrawn, moved_by = torch.stack(terms).reshape(-1, 3).mean(0)
        loss = reach * (rephrased + redrawn) + keep * moved_by
        return loss, Losses(loss.item(), rephrased.item(), redrawn.item(), moved_by.item())

    @torch.no_grad()
    def _check(self, validation: Sequence[_Prepared]) -> None:
        """Look at the validation edits, always with the same probes; keep the network where it is
        the best so far, and put everything on the disk."""
        seed, progress = self._config.seed, self._progress
        drawn = [self._draw(edit, Random(f"{seed}/{edit.id}")) for edit in validation]
        size = self._config.accumulate
        parts = [drawn[i : i + size] for i in range(0, len(drawn), size)]
        losses = Losses.mean([(len(part), self._loss(part)[1]) for part in parts])
        self._log("validation", losses)
        progress.checks_since += 1
        if losses.total < progress.best:
            progress.best, progress.best_step = losses.total, progress.step
            progress.checks_since = 0
            self._best = {n: t.clone() for n, t in self.network.state_dict().items()}
        self._keep()

    # -- what is on the disk -----------------------------------------------------------------

    def _log(self, of: str, losses: Losses) -> None:
        """One line in the journal, unless a run that was killed wrote it already."""
        step = self._progress.step
        if (step, of) not in self._logged:
            self._logged.add((step, of))
            edit_lr = self.network.lr.item()
            self._journal.append({"step": step, "of": of, **asdict(losses), "edit_lr": edit_lr})

    def _keep(self) -> None:
        tensors = {f"network.{n}": t for n, t in self.network.state_dict().items()}
        tensors |= {f"best.{n}": t for n, t in self._best.items()}
        for i, state in self._adam.state_dict()["state"].items():
            tensors |= {f"adam.{i}.{n}": t for n, t in state.items()}
        flat = {n: t.detach().cpu().clone() for n, t in tensors.items()}
        header = {"progress": json.dumps(asdict(self._progress))}
        path = self._directory / STATE
        try:
            write_durably(path, safetensors.torch.save(flat, metadata=header))
        except OSError as error:
            raise ResultsError(f"cannot write '{path}': {error}") from error

    def _resume(self) -> None:
        """Take over what an earlier run left. Raises `ResultsError` for a damaged file."""
        path = self._directory / STATE
        if not path.exists():
            return
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                progress = json.loads(file.metadata()["progress"])
            tensors = safetensors.torch.load_file(path)
            self.network.load_state_dict(_under("network.", tensors))
            adam = self._adam.state_dict()
            for name, t in _under("adam.", tensors).items():
                i, field = name.split(".")
                adam["state"].setdefault(int(i), {})[field] = t
            self._adam.load_state_dict(adam)
            device = self._loaded.device
            self._best = {n: t.to(device) for n, t in _under("best.", tensors).items()}
            self._progress = _Progress(**progress)
        except (
            OSError,
            safetensors.SafetensorError,
            KeyError,
            ValueError,
            TypeError,
            RuntimeError,
        ) as error:
            raise ResultsError(
                f"'{path}' is damaged ({type(error).__name__}); delete it to train from the start"
            ) from error


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _nll(logits: torch.Tensor, answer: Sequence[int]) -> torch.Tensor:
    """Mean cross-entropy, nats a token. logits: (A, V)."""
    return F.cross_entropy(logits, torch.tensor(list(answer), device=logits.device))


def _divergence(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """KL(before ‖ after) at each position, nats. Both: (A, V) logits -> (A,)."""
    apart = F.kl_div(
        after.log_softmax(-1), before.log_softmax(-1), log_target=True, reduction="none"
    )
    return apart.sum(-1)
