"""Running editing methods over a data set: one result line an edit, resumable at any moment.

Single edits are held one at a time: made, probed, taken back. In a sequence of n, all n are made
first and all are probed after the last. Outputs before any edit are recorded once and are what
locality compares with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balancedit.bench.journal import Journal
from balancedit.bench.protocols import EvaluationProtocol, Probe, probes, scores
from balancedit.data.sample import EditSample
from balancedit.editor import Editor
from balancedit.errors import BalanceditError
from balancedit.images import pixel_hash

BASE = "base"  # stands for the unedited model among the methods
EDITS = "edits"  # folder of the stores that sequences of edits are kept in

#: Opens an editor for a method, its edits kept in a directory or (None) in memory.
OpenEditor = Callable[[str, Path | None], Editor]


@dataclass(frozen=True)
class Settings:
    """What is run. held: numbers of edits held at once; 1 is each edit alone."""

    methods: tuple[str, ...]
    held: tuple[int, ...] = (1,)
    batch_size: int = 32


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
        """advance: called with a description after each result; `total` calls in all, less those
        that an earlier run made."""
        self._samples, self._protocol, self._settings = samples, protocol, settings
        self._journal, self._open, self._advance = journal, open_editor, advance
        rows = journal.rows()
        self._done = {(r["method"], r["held"], r["sample"]) for r in rows}
        self._before = {r["sample"]: r["outputs"] for r in rows if r["method"] == BASE}

    def remaining(self) -> int:
        """Results still to come."""
        runs = {(m, n) for m in self._settings.methods for n in self._settings.held} | {(BASE, 0)}
        return sum(len(self._missing(method, size)) for method, size in runs)

    def run(self) -> None:
        """Everything not yet done."""
        self._record_base()
        for method in self._settings.methods:
            for size in sorted(self._settings.held):
                if size == 1:
                    self._single(method)
                else:
                    self._sequence(method, size)

    def _held(self, size: int) -> Sequence[EditSample]:
        """Samples that a run with `size` edits held is about; the base model's are all."""
        return self._samples[:size] if size > 1 else self._samples

    def _missing(self, method: str, size: int) -> list[EditSample]:
        return [s for s in self._held(size) if (method, size, s.id) not in self._done]

    # -- the three kinds of run --------------------------------------------------------------

    def _record_base(self) -> None:
        """What the unedited model says, and how it scores."""
        missing = self._missing(BASE, 0)
        if not missing:
            return
        editor = self._open(self._settings.methods[0], None)
        for sample in missing:
            asked = probes(sample)
            outputs = self._protocol.outputs(editor, asked, self._settings.batch_size)
            self._before[sample.id] = outputs
            self._write(BASE, 0, sample, asked, outputs, {})

    def _single(self, method: str) -> None:
        """Each edit alone: made, probed, taken back."""
        missing = self._missing(method, 1)
        if not missing:
            return
        editor = self._open(method, None)
        for sample in missing:
            started = time.perf_counter()
            try:
                edit = editor.edit(sample.image.open(), sample.question, sample.target)
            except BalanceditError as error:
                self._write_failure(method, 1, sample, error)
                continue
            about = {"edit_seconds": round(time.perf_counter() - started, 3)}
            self._probe(method, 1, sample, editor, about)
            editor.revert(edit.id)

    def _sequence(self, method: str, size: int) -> None:
        """`size` edits together. They are kept in a store, so that a killed run need not learn them
        again."""
        missing = self._missing(method, size)
        if not missing:
            return
        editor = self._open(method, self._journal.directory / EDITS / method)
        held = self._held(size)
        present = {
            (e.question, e.target, e.image_sha256)
            for e in editor.list(states=("active", "retired"))
        }
        failures: dict[str, BalanceditError] = {}
        for sample in held:
            image = sample.image.open()
            if (sample.question, sample.target, pixel_hash(image)) in present:
                continue
            try:
                editor.edit(image, sample.question, sample.target)
            except BalanceditError as error:
                failures[sample.id] = error
        shown = {s.shows for s in held}
        for sample in missing:
            if sample.id in failures:
                self._write_failure(method, size, sample, failures[sample.id])
            else:
                self._probe(method, size, sample, editor, {}, shown - {sample.shows})

    # -- one result --------------------------------------------------------------------------

    def _probe(
        self,
        method: str,
        size: int,
        sample: EditSample,
        editor: Editor,
        about: dict[str, Any],
        touched: Collection[str] = (),
    ) -> None:
        asked = probes(sample)
        started = time.perf_counter()
        outputs = self._protocol.outputs(editor, asked, self._settings.batch_size)
        about = about | {"probe_seconds": round(time.perf_counter() - started, 3)}
        self._write(method, size, sample, asked, outputs, about, touched)

    def _write(
        self,
        method: str,
        size: int,
        sample: EditSample,
        asked: Sequence[Probe],
        outputs: list[Any],
        about: dict[str, Any],
        touched: Collection[str] = (),
    ) -> None:
        hits = self._protocol.hits(sample, asked, self._before[sample.id], outputs)
        row = _head(method, size, sample) | about
        row |= {"scores": scores(asked, hits, touched), "outputs": outputs}
        self._append(row)

    def _write_failure(
        self, method: str, size: int, sample: EditSample, error: BalanceditError
    ) -> None:
        self._append(_head(method, size, sample) | {"failed": str(error)})

    def _append(self, row: dict[str, Any]) -> None:
        self._journal.append(row)
        self._done.add((row["method"], row["held"], row["sample"]))
        self._advance(f"{row['method']}, {row['held']} held")


def _head(method: str, size: int, sample: EditSample) -> dict[str, Any]:
    return {
        "method": method,
        "held": size,
        "sample": sample.id,
        "category": sample.category,
        "kind": sample.kind,
    }
