"""Scoring kept outputs again: what the measures say may change, what a model answered does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from balancedit.bench.protocols import EvaluationProtocol, Probe, probes, scores
from balancedit.bench.runner import BASE, changed_by_others
from balancedit.data.sample import EditSample
from balancedit.errors import ResultsError
from balancedit.files.durable import write_durably
from balancedit.files.journal import ROWS, lock_of, read_results


def rescore(
    directory: Path,
    samples: Sequence[EditSample],
    protocol: EvaluationProtocol,
    advance: Callable[[str], None] = lambda _: None,
) -> int:
    """Score every result of a directory again from its outputs; how many came out otherwise.

    samples: the data the results are about, in their order. The file is replaced as a whole, or not
    at all. advance: called with a description after each result. Raises `ResultsError` where a
    result is about none of the samples, or was asked other probes than they have now.
    """
    with _writing(directory), lock_of(directory):
        rows = list(read_results(directory))
        before = {row["sample"]: row.get("outputs") for row in rows if row["method"] == BASE}
        by_id, asked = {s.id: s for s in samples}, dict[str, list[Probe]]()
        changed = 0
        for row in rows:
            if "outputs" in row:
                sample = by_id.get(row["sample"])
                if sample is None:
                    raise ResultsError(
                        f"'{directory}' holds a result on '{row['sample']}', which the data lack"
                    )
                if sample.id not in asked:
                    asked[sample.id] = _without_pictures(probes(sample))
                again = _scores(row, samples, sample, asked[sample.id], before, protocol)
                changed += again != row.get("scores")
                row["scores"] = again
            advance(f"{row['method']}, {row['held']} held")
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_durably(directory / ROWS, lines.encode())
    return changed


def _scores(
    row: dict[str, Any],
    samples: Sequence[EditSample],
    sample: EditSample,
    asked: Sequence[Probe],
    before: dict[str, Any],
    protocol: EvaluationProtocol,
) -> dict[str, float]:
    old = before.get(sample.id)
    if old is None or not len(old) == len(row["outputs"]) == len(asked):
        raise ResultsError(
            f"the outputs on '{sample.id}' are not of the probes that the data have now; run the "
            "benchmark again into another directory"
        )
    held = samples[: row["held"]] if row["held"] > 1 else [sample]
    try:
        judged = protocol.judged(asked, old, row["outputs"])
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise ResultsError(
            f"the outputs on '{sample.id}' are not what the protocol {protocol.name} keeps; run "
            "the benchmark again into another directory"
        ) from error
    return scores(asked, judged, changed_by_others(held, sample))


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultsError(
            f"the results in '{directory}' cannot be scored again: {error.strerror or error}"
        ) from error


def _without_pictures(asked: Sequence[Probe]) -> list[Probe]:
    """Scoring looks at no pixel, and thousands of pictures would fill the memory."""
    return [probe._replace(image=None) for probe in asked]
