"""How an edit's probes are asked and judged. Every figure names its protocol.

``generate``: greedy decoding to the natural stop, whole answers compared after the normalisation of
`text.vqa_answer`; locality is the text after the edit equal to the text before it. See
docs/benchmark.md for why this is the default.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Protocol

from PIL import Image

from balancedit.bench.metrics import exact_match
from balancedit.data.sample import EditSample
from balancedit.editor import Editor

REACH = ("Acc", "T-Gen", "I-Gen")
PAPER_LOCALITY = "similar"  # the kind of locality probe that the paper's Loc counts


class Probe(NamedTuple):
    """One question of an edit. `measures`: "Acc", "T-Gen", "I-Gen", or a kind of locality."""

    measures: str
    image: Image.Image | None
    question: str
    shows: str | None  # the thing in a locality probe's picture, where the data say


def probes(sample: EditSample) -> list[Probe]:
    """Everything that is asked about one edit, in a fixed order."""
    image = sample.image.open()
    made = [Probe("Acc", image, sample.question, None)]
    made += [Probe("T-Gen", image, question, None) for question in sample.rephrases]
    made += [Probe("I-Gen", i.open(), sample.question, None) for i in sample.image_rephrases]
    for found in sample.locality:
        picture = found.image.open() if found.image is not None else None
        made.append(Probe(found.kind, picture, found.question, found.shows))
    return made


class EvaluationProtocol(Protocol):
    """A way of asking and judging."""

    name: str

    def outputs(self, editor: Editor, asked: Sequence[Probe], batch_size: int) -> list[Any]:
        """What the model says to each probe, as plain JSON types."""

    def hits(
        self,
        sample: EditSample,
        asked: Sequence[Probe],
        before: Sequence[Any],
        after: Sequence[Any],
    ) -> list[float]:
        """0 to 1 for each probe: the target given, or for locality the old output kept."""


class Generate:
    """Free generation, greedy."""

    name = "generate"

    def outputs(self, editor: Editor, asked: Sequence[Probe], batch_size: int) -> list[str]:
        """The generated texts."""
        answers = editor.ask(
            [p.image for p in asked], [p.question for p in asked], batch_size=batch_size
        )
        return [a.text for a in answers]

    def hits(
        self,
        sample: EditSample,
        asked: Sequence[Probe],
        before: Sequence[str],
        after: Sequence[str],
    ) -> list[float]:
        """Normalised exact match with the target; for locality, with the text before the edit."""
        return [
            float(exact_match(new, sample.target) if p.measures in REACH else new == old)
            for p, old, new in zip(asked, before, after, strict=True)
        ]


PROTOCOLS: dict[str, EvaluationProtocol] = {"generate": Generate()}


def scores(
    asked: Sequence[Probe], hits: Sequence[float], touched: Collection[str] = ()
) -> dict[str, float]:
    """Mean hits of one edit by what they measure; "Loc" is the paper's kind of locality.

    touched: things that other edits of the same run changed; locality probes about them are left
    out. What has no probe is left out.
    """
    by_measure: dict[str, list[float]] = {}
    for probe, hit in zip(asked, hits, strict=True):
        if probe.measures in REACH or probe.shows not in touched:
            by_measure.setdefault(probe.measures, []).append(hit)
    means = {name: sum(found) / len(found) for name, found in by_measure.items()}
    if PAPER_LOCALITY in means:
        means["Loc"] = means.pop(PAPER_LOCALITY)
    return means
