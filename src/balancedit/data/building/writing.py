"""The data set that a build comes to, in our own format, and its manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from balancedit.data import jsonl
from balancedit.data.building.facts import Fact
from balancedit.data.building.ledger import Ledger
from balancedit.data.building.plan import Outcome, Plan
from balancedit.data.building.steps import (
    COUNTERFACTUAL,
    IMAGE_STEPS,
    IMAGES,
    KIND,
    LOCALITY_ANSWER,
    LOCALITY_IMAGE,
    LOCALITY_OBJECT,
    OBJECT,
    REPHRASES,
)
from balancedit.data.sample import EditSample, FileImage, LocalityProbe
from balancedit.errors import DataError
from balancedit.files.names import is_file
from balancedit.version import __version__

PART, MANIFEST = "eval", "manifest.json"


def write(
    facts: Sequence[Fact], ledger: Ledger, plan: Plan, outcome: Outcome, about: dict[str, Any]
) -> None:
    """Write the complete facts as a part, and the manifest: `about` and what the build came to.

    Raises `DataError` where that cannot be written.
    """
    complete = {*outcome.complete}
    samples = [_sample(fact, ledger, plan) for fact in facts if fact.id in complete]
    lines = "".join(json.dumps(jsonl.line(s), ensure_ascii=False) + "\n" for s in samples)
    manifest = {
        **about,
        "balancedit": __version__,
        "facts": len(facts),
        "complete": len(complete),
        "set_aside": outcome.set_aside,
        "rejected_replies": ledger.rejected(),
        "tokens_in": ledger.tokens_in,
        "tokens_out": ledger.tokens_out,
    }
    ledger.keep(f"{PART}.jsonl", lines.encode())
    ledger.keep(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())


def _sample(fact: Fact, ledger: Ledger, plan: Plan) -> EditSample:
    def said(step: str) -> Any:
        return ledger.accepted((fact.id, step, 0))

    painted = {
        step.name: tuple(
            FileImage(ledger.directory, str(ledger.picture((fact.id, step.name, index))))
            for index in range(plan.pictures(step))
        )
        for step in IMAGE_STEPS
    }
    return EditSample(
        id=fact.id,
        image=_original(fact, ledger),
        question=fact.question,
        target=said(COUNTERFACTUAL),
        original_answer=fact.answer,
        rephrases=tuple(said(REPHRASES)),
        image_rephrases=painted[IMAGES],
        locality=(
            LocalityProbe(
                "similar",
                painted[LOCALITY_IMAGE][0],
                fact.question,
                said(LOCALITY_ANSWER),
                shows=said(LOCALITY_OBJECT).lower(),
            ),
        ),
        portability=(),
        category=fact.category,
        kind=said(KIND),
        shows=said(OBJECT).lower(),
    )


def _original(fact: Fact, ledger: Ledger) -> FileImage:
    """The fact's picture, copied beside the others so that the data set stands alone."""
    name = f"images/{fact.id}{PurePosixPath(fact.image.name).suffix}"
    if not is_file(ledger.directory / name):
        source = fact.image.root / fact.image.name
        try:
            data = source.read_bytes()
        except OSError as error:
            raise DataError(
                f"'{source}' cannot be read ({error.strerror or error}); put it back and start "
                "again"
            ) from error
        ledger.keep(name, data)
    return FileImage(ledger.directory, name)
