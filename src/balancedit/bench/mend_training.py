"""Training MEND's network: on edits whose rephrasings and locality probes are known.

For each edit the network makes an update of the edited layer's weight; the loss (`mend_loss.py`)
asks that the updated model answer a rephrasing and another picture with the target, and locality
probes as before. Gradients reach the network through the updated weight.

Nothing of the model itself changes, so the edits' gradients, and what the model makes of every
probe up to the edited layer, are worked out once before the first step (`last_block.py`). Every
random choice follows from the seed and the step's number, so a run that was killed and goes on ends
where it would have ended.

Source: Mitchell et al., *Fast Model Editing at Scale* (2022), Section 3.2 and its repository.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

import torch

from balancedit.bench.last_block import Replay, Scored, replay_for
from balancedit.bench.mend_loss import DrawnEdit, Losses, PreparedEdit, Probed, mean_loss
from balancedit.bench.mend_settings import MendTraining
from balancedit.bench.mend_state import STATE, read_state, write_state
from balancedit.bench.protocols import REACH, probes
from balancedit.codebook.pooling import last_key
from balancedit.data.sample import EditSample
from balancedit.files.journal import Journal
from balancedit.layer.edited import EditedLayer
from balancedit.layer.paths import ancestors, resolve_layer
from balancedit.layer.router import Router
from balancedit.learning.loop import frozen
from balancedit.methods.mend import gradients
from balancedit.methods.mend_network import MendNetwork, TrainedFor, save_network
from balancedit.models.loading import LoadedModel


class MendTrainer:
    """One training run, kept in the journal's directory.

    advance: called with a description after each edit that is prepared and each step. Raises
    `ResultsError` where an earlier run left a damaged file.
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
        self._journal, self._state = journal, journal.directory / STATE
        self._logged = {(row["step"], row["of"]) for row in journal.rows()}
        self._replay: Replay | None = None
        self._best, self._progress = read_state(
            self._state, self.network, self._adam, loaded.device
        )

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
                self.network.observe(edit.gradients.u, edit.gradients.delta)
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

    def _prepared(self, sample: EditSample) -> PreparedEdit:
        """An edit's gradients, and its probes up to the edited layer."""
        loaded = self._loaded
        asked = probes(sample)
        answers = [self._ids(sample.target) for p in asked if p.measures in REACH]
        answers += [self._ids(probe.answer) for probe in sample.locality]
        inputs = loaded.to_device(loaded.prompter.inputs([asked[0].image], [sample.question]))
        own = gradients(loaded.model, self._layer.layer, inputs, answers[0])
        scored = [Scored(p.image, p.question, a) for p, a in zip(asked, answers, strict=True)]
        if self._replay is None:
            self._replay = replay_for(loaded, self._layer, scored[:2])
        rows: dict[str, list[Probed]] = {}
        for probe, encoded, ids in zip(asked, self._replay.encode(scored), answers, strict=True):
            rows.setdefault(probe.measures, []).append(Probed(encoded, ids))
        self._advance("reading the edits")
        return PreparedEdit(sample.id, own, rows)

    def _ids(self, answer: str | None) -> Sequence[int]:
        """An answer's token ids; where none is known, only the first token is looked at."""
        eos = self._loaded.eos
        return self._loaded.prompter.answer_ids(answer, eos) if answer else [eos]

    # -- the steps ---------------------------------------------------------------------------

    def _step(self, training: Sequence[PreparedEdit]) -> Losses:
        """One Adam step on edits that the step's number chooses."""
        config = self._config
        chance = Random(f"{config.seed}/{self._progress.step}")
        chosen = chance.sample(training, min(config.accumulate, len(training)))
        self._adam.zero_grad()
        loss, losses = self._loss([edit.draw(chance, config.locality) for edit in chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip)
        self._adam.step()
        return losses

    def _loss(self, drawn: Sequence[DrawnEdit]) -> tuple[torch.Tensor, Losses]:
        """The mean loss of some edits, with gradients to the network."""
        assert self._replay is not None
        reach, keep = self._config.reach, self._config.keep
        return mean_loss(self._replay, self.network, self._base, drawn, reach=reach, keep=keep)

    @torch.no_grad()
    def _check(self, validation: Sequence[PreparedEdit]) -> None:
        """Look at the validation edits, always with the same probes; keep the network where it is
        the best so far, and put everything on the disk."""
        config, progress = self._config, self._progress
        drawn = [
            edit.draw(Random(f"{config.seed}/{edit.id}"), config.locality) for edit in validation
        ]
        size = config.accumulate
        parts = [drawn[i : i + size] for i in range(0, len(drawn), size)]
        losses = Losses.mean([(len(part), self._loss(part)[1]) for part in parts])
        self._log("validation", losses)
        progress.checks_since += 1
        if losses.total < progress.best:
            progress.best, progress.best_step = losses.total, progress.step
            progress.checks_since = 0
            self._best = {n: t.clone() for n, t in self.network.state_dict().items()}
        write_state(self._state, self.network, self._adam, self._best, progress)

    def _log(self, of: str, losses: Losses) -> None:
        """One line in the journal, unless a run that was killed wrote it already."""
        step = self._progress.step
        if (step, of) not in self._logged:
            self._logged.add((step, of))
            edit_lr = self.network.lr.item()
            self._journal.append({"step": step, "of": of, **asdict(losses), "edit_lr": edit_lr})
