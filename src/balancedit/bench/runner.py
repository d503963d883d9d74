"""Running editing methods over a data set: one result line an edit, resumable at any moment.

Single edits are held one at a time: made, probed, taken back. In a sequence of n, all n are made
first and all are probed after the last. Outputs before any edit are recorded once and are what
locality compares with. All that is asked about one edit, of the unedited model and of every
contender, is asked in a row, so that its prompts are read and its pictures encoded once.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from balancedit.bench.contenders import Contender
from balancedit.bench.protocols import EvaluationProtocol, Probe, probes, scores
from balancedit.bench.rows import about_edit, head
from balancedit.data.sample import EditSample
from balancedit.editor import Editor
from balancedit.errors import BalanceditError, InputError, ModelError
from balancedit.files.journal import Journal
from balancedit.inputs.images import pixel_hash
from balancedit.types import BATCH_SIZE

BASE = "base"  # stands for the unedited model among the contenders
EDITS = "edits"  # folder of the stores that sequences of edits are kept in

#: Opens an editor for a contender, or (None) for the unedited model; its edits are kept in a
#: directory or (None) in memory. All editors share one loaded model.
OpenEditor = Callable[[Contender | None, Path | None], Editor]


@dataclass(frozen=True)
class Settings:
    """What is run. held: numbers of edits held at once; 1 is each edit alone. batch_size: questions
    asked together; halved where they do not fit the memory."""

    contenders: tuple[Contender, ...]
    held: tuple[int, ...] = (1,)
    batch_size: int = BATCH_SIZE


class Runner:
    """Runs `settings` over `samples` and writes every result to `journal`."""

    def __init__(
        self,
        samples: Sequence[EditSample],
        protocol: EvaluationProtocol,
        settings: Settings,
        journal: Journal,
        open_editor: OpenEditor,
        advance: Callable[[str], None],
    ) -> None:
        """advance: called with a description after each result; `remaining` calls in all."""
        self._samples, self._protocol, self._settings = samples, protocol, settings
        self._journal, self._open, self._advance = journal, open_editor, advance
        self._done: set[tuple[str, int, str]] = set()
        self._before: dict[str, list[Any]] = {}  # the unedited model's outputs, by sample
        self._catch_up()
        self._batch_size = settings.batch_size
        self._unedited: Editor | None = None

    def remaining(self) -> int:
        """Results still to come."""
        runs = [(BASE, 0), *((c.name, n) for c in self._settings.contenders for n in self._sizes)]
        return sum(len(self._missing(name, size)) for name, size in runs)

    def run(self) -> None:
        """Everything not yet done."""
        singles = self._settings.contenders if 1 in self._sizes else ()
        editors: dict[str, Editor] = {}
        for sample in self._samples:
            self._catch_up()
            waiting = [c for c in singles if not self._has(c.name, 1, sample)]
            if not waiting and self._has(BASE, 0, sample):
                continue
            runs = [(c.name, 1) for c in waiting]
            with self._asking(sample, runs) as asked, self._failing(sample, runs):
                self._record_base(sample, asked)
                for contender in waiting:
                    if contender.name not in editors:
                        editors[contender.name] = self._open(contender, None)
                    self._single(contender, sample, asked, editors[contender.name])
        editors.clear()
        for size in self._sizes:
            if size > 1:
                self._sequence(size)

    def _catch_up(self) -> None:
        """Take over what is in the journal, this process's results or another's."""
        for row in self._journal.news():
            self._done.add((row["method"], row["held"], row["sample"]))
            if row["method"] == BASE and "failed" not in row:
                self._before.setdefault(row["sample"], row["outputs"])

    @property
    def _sizes(self) -> list[int]:
        return sorted(set(self._settings.held))

    def _held(self, size: int) -> Sequence[EditSample]:
        """Samples that a run with `size` edits held is about; other runs are about all."""
        return self._samples[:size] if size > 1 else self._samples

    def _has(self, name: str, size: int, sample: EditSample) -> bool:
        return (name, size, sample.id) in self._done

    def _missing(self, name: str, size: int) -> list[EditSample]:
        return [s for s in self._held(size) if not self._has(name, size, s)]

    # -- the kinds of run --------------------------------------------------------------------

    @contextmanager
    def _asking(
        self, sample: EditSample, runs: Sequence[tuple[str, int]]
    ) -> Iterator[Sequence[Probe]]:
        """The sample's probes, whose prompts are read once inside the context. Where a picture
        cannot be had, the context is entered with no probe and the runs are recorded as failed."""
        if self._unedited is None:
            self._unedited = self._open(None, None)
        asked: Sequence[Probe] = []
        with self._failing(sample, runs, BalanceditError):
            asked = probes(sample)
        with self._unedited.remembering():
            yield asked

    @contextmanager
    def _failing(
        self,
        sample: EditSample,
        runs: Sequence[tuple[str, int]],
        kind: type[BalanceditError] = InputError,
    ) -> Iterator[None]:
        """Around what a picture or prompt of the sample may end: what has no result by then is
        recorded as failed."""
        try:
            yield
        except kind as error:
            for name, size in [(BASE, 0), *runs]:
                if not self._has(name, size, sample):
                    self._write_failure(name, size, sample, error)

    def _record_base(self, sample: EditSample, asked: Sequence[Probe]) -> None:
        """What the unedited model says, and how it scores."""
        if self._has(BASE, 0, sample):
            return
        assert self._unedited is not None
        outputs, about = self._outputs(self._unedited, asked)
        self._before[sample.id] = outputs
        self._write(BASE, 0, sample, asked, outputs, about)

    def _single(
        self, contender: Contender, sample: EditSample, asked: Sequence[Probe], editor: Editor
    ) -> None:
        """One edit alone: made, probed, taken back."""
        if self._has(contender.name, 1, sample):
            return
        try:
            edit = editor.edit(sample.image.open(), sample.question, sample.target)
        except ModelError:  # memory that ran out says nothing of the fact
            raise
        except BalanceditError as error:
            self._write_failure(contender.name, 1, sample, error)
            return
        try:
            outputs, about = self._outputs(editor, asked)
        except InputError:
            editor.revert(edit.id)
            raise
        self._write(contender.name, 1, sample, asked, outputs, about | about_edit(edit))
        editor.revert(edit.id)

    def _sequence(self, size: int) -> None:
        """`size` edits together. They are kept in a store, so that a killed run need not learn them
        again."""
        waiting = [c for c in self._settings.contenders if self._missing(c.name, size)]
        editors: dict[str, Editor] = {}
        failures: dict[tuple[str, str], BalanceditError] = {}
        for contender in waiting:
            editors[contender.name], failed = self._taught(contender, size)
            failures |= {(contender.name, sample): error for sample, error in failed.items()}
        for sample in self._held(size):
            names = [c.name for c in waiting if not self._has(c.name, size, sample)]
            if not names:
                continue
            runs = [(name, size) for name in names]
            with self._asking(sample, runs) as asked, self._failing(sample, runs):
                for name in names:
                    if self._has(name, size, sample):
                        continue
                    if (name, sample.id) in failures:
                        self._write_failure(name, size, sample, failures[name, sample.id])
                        continue
                    outputs, about = self._outputs(editors[name], asked)
                    touched = changed_by_others(self._held(size), sample)
                    self._write(name, size, sample, asked, outputs, about, touched)

    def _taught(self, contender: Contender, size: int) -> tuple[Editor, dict[str, BalanceditError]]:
        """An editor that holds `size` edits, and what could not be learned, by sample.

        A contender's sizes share a store, which grows; a size smaller than what that one holds has
        one of its own.
        """
        held = self._held(size)
        facts: dict[str, tuple[str, str, str]] = {}
        failures: dict[str, BalanceditError] = {}
        for sample in held:
            try:
                picture = pixel_hash(sample.image.open())
                facts[sample.id] = (sample.question, sample.target, picture)
            except BalanceditError as error:
                failures[sample.id] = error
        folder = self._journal.directory / EDITS / _slug(contender.name)
        editor = self._open(contender, folder)
        if not _facts(editor) <= set(facts.values()):
            editor = self._open(contender, folder.with_name(f"{folder.name}-{size}"))
        present = _facts(editor)
        for sample in held:
            if sample.id in facts and facts[sample.id] not in present:
                try:
                    editor.edit(sample.image.open(), sample.question, sample.target)
                except ModelError:
                    raise
                except BalanceditError as error:
                    failures[sample.id] = error
        return editor, failures

    # -- one result --------------------------------------------------------------------------

    def _outputs(self, editor: Editor, asked: Sequence[Probe]) -> tuple[list[Any], dict[str, Any]]:
        """What the model says to each probe, and how long that took."""

        started = time.perf_counter()
        while True:
            try:
                outputs = self._protocol.outputs(editor, asked, self._batch_size)
                break
            except (RuntimeError, ModelError) as error:
                cause = error.__cause__ if isinstance(error, ModelError) else error
                if self._batch_size == 1 or not should_reduce_batch_size(cause):
                    raise
            self._batch_size //= 2
            clear_device_cache(garbage_collection=True)
        return outputs, {"probe_seconds": round(time.perf_counter() - started, 3)}

    def _write(
        self,
        name: str,
        size: int,
        sample: EditSample,
        asked: Sequence[Probe],
        outputs: list[Any],
        about: dict[str, Any],
        touched: Collection[str] = (),
    ) -> None:
        judged = self._protocol.judged(asked, self._before[sample.id], outputs)
        row = head(name, size, sample) | about
        row |= {"scores": scores(asked, judged, touched), "outputs": outputs}
        self._append(row)

    def _write_failure(
        self, name: str, size: int, sample: EditSample, error: BalanceditError
    ) -> None:
        self._append(head(name, size, sample) | {"failed": str(error)})

    def _append(self, row: dict[str, Any]) -> None:
        self._journal.append(row)
        self._done.add((row["method"], row["held"], row["sample"]))
        self._advance(f"{row['method']}, {row['held']} held")


def changed_by_others(held: Sequence[EditSample], sample: EditSample) -> set[str]:
    """The things, and wider facts, that other edits than the sample's are about, of those held
    together; its own are among them where another edit is about them too."""
    others = [other for other in held if other is not sample]
    return {fact for other in others for fact in (other.shows, *other.reaches)}


def _facts(editor: Editor) -> set[tuple[str, str, str]]:
    """Question, target and picture of the edits made so far, those retired since among them."""
    edits = editor.edits(states=("active", "retired"))
    return {(e.question, e.target, e.image_sha256) for e in edits}


def _slug(name: str) -> str:
    """A folder name for a contender, different for different names."""
    readable = re.sub(r"[^A-Za-z0-9.=-]+", "_", name)
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
