"""How an edit's probes are asked and judged. Every figure names its protocol.

``generate``: greedy decoding to the natural stop, whole answers compared after the normalisation of
`vqa.vqa_answer`; locality is the text after the edit equal to the text before it. Questions in the
plain style are answered in sentences, and `sentences` judges those: what counts is the answer that
one gives, for locality that it is the same; whether the text is the same stands beside it.

``teacher-forced``: the expected answer's own tokens are fed in, and the share of them counts that
is the most likely next token; locality is the agreement of the most likely tokens before and after.
This gives most of the answer away, and stands here to compare with published tables. See
docs/benchmark.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from PIL import Image

from balancedit.answering.ask import How
from balancedit.bench.metrics import exact_match, token_accuracy, top_k_agreement
from balancedit.bench.sentences import gives, same_answer
from balancedit.data.sample import EditSample
from balancedit.data.vocabulary import Vocabulary
from balancedit.editor import Editor

REACH = ("Acc", "T-Gen", "I-Gen")
PAPER_LOCALITY = "similar"  # the kind of locality probe that the paper's Loc counts
SAME_ANSWER = "same-answer"  # of those, the ones that share the edit's old answer
TEXT = "-text"  # of a kind of locality, in the plain style: that the whole text stayed
SENTENCES = "by the answer a sentence gives"  # the rule for the plain style, in reports
TOP = 10  # candidates a token that EasyEdit's image locality compares


class Probe(NamedTuple):
    """One question of an edit. `measures`: "Acc", "T-Gen", "I-Gen", or a kind of locality."""

    measures: str
    image: Image.Image | None
    question: str
    expected: str  # the target, or for locality the true answer as far as the data know it
    shows: str | None = None  # the thing in a locality probe's picture, where the data say
    within: tuple[str, ...] = ()  # wider facts that a locality probe's answer follows
    sort: str = ""  # of answer, as the data's vocabulary has them
    plain: bool = False  # whether it is asked so that a sentence may be answered
    vocabulary: Vocabulary | None = None


def probes(sample: EditSample) -> list[Probe]:
    """Everything that is asked about one edit, in a fixed order."""
    image, target = sample.image.open(), sample.target
    asked = [Probe("Acc", image, sample.question, target)]
    asked += [Probe("T-Gen", image, question, target) for question in sample.rephrases]
    asked += [Probe("I-Gen", i.open(), sample.question, target) for i in sample.image_rephrases]
    for probe in sample.locality:
        picture = probe.image.open() if probe.image is not None else None
        expected = probe.answer or sample.original_answer
        asked.append(
            Probe(probe.kind, picture, probe.question, expected, probe.shows, probe.within)
        )
    plain, listed = sample.style == "plain", sample.vocabulary
    return [p._replace(sort=sample.kind, plain=plain, vocabulary=listed) for p in asked]


class EvaluationProtocol(Protocol):
    """A way of asking and judging."""

    name: str

    def outputs(self, editor: Editor, asked: Sequence[Probe], batch_size: int) -> list[Any]:
        """What the model says to each probe, as plain JSON types."""

    def judged(
        self, asked: Sequence[Probe], before: Sequence[Any], after: Sequence[Any]
    ) -> list[dict[str, float]]:
        """0 to 1 for each probe by what is measured: the target given, or for locality the old
        output kept."""


class Generate:
    """Free generation, greedy. max_new_tokens: as `Editor.ask` takes it."""

    name = "generate"

    def __init__(self, max_new_tokens: int | None = None) -> None:
        self._max_new_tokens = max_new_tokens

    def outputs(self, editor: Editor, asked: Sequence[Probe], batch_size: int) -> list[str]:
        """The generated texts."""
        how: How = {"batch_size": batch_size}
        if self._max_new_tokens is not None:
            how["max_new_tokens"] = self._max_new_tokens
        answers = editor.ask([p.image for p in asked], [p.question for p in asked], **how)
        return [a.text for a in answers]

    def judged(
        self, asked: Sequence[Probe], before: Sequence[str], after: Sequence[str]
    ) -> list[dict[str, float]]:
        """Normalised exact match with the target, or, in the plain style, a sentence that gives it;
        for locality, the text before the edit, or, in the plain style, the same answer, with the
        same text beside it as "…-text". "same-answer" is the paper's kind of locality where the
        unedited model gives what it gives to the edit's own question."""
        judged = []
        for probe, old, new in zip(asked, before, after, strict=True):
            if probe.measures in REACH:
                judged.append({probe.measures: float(_right(probe, new))})
                continue
            kept = float(_same(probe, old, new))
            judged.append({probe.measures: kept})
            if probe.plain:
                judged[-1][probe.measures + TEXT] = float(new == old)
            if probe.measures == PAPER_LOCALITY and _same(probe, old, before[0]):
                judged[-1][SAME_ANSWER] = kept
        return judged


def _right(probe: Probe, said: str) -> bool:
    if probe.plain:
        return gives(said, probe.expected, probe.sort, probe.vocabulary)
    return exact_match(said, probe.expected)


def _same(probe: Probe, one: str, other: str) -> bool:
    return one == other or (probe.plain and same_answer(one, other, probe.vocabulary))


class TeacherForced:
    """The most likely tokens under the expected answer's own prefix.

    An output is {"gold": (T,) token ids, "top": (T, 10) the most likely ids at each place}; the end
    token is not scored, as in published tables. Locality is the agreement of arg-max tokens;
    "loc@10" is that of the first ten, on the paper's kind of locality.
    """

    name = "teacher-forced"

    def outputs(
        self, editor: Editor, asked: Sequence[Probe], batch_size: int
    ) -> list[dict[str, Any]]:
        """Token ids, as above."""
        forced = editor.force(
            [p.image for p in asked],
            [p.question for p in asked],
            [p.expected for p in asked],
            candidates=TOP,
            batch_size=batch_size,
        )
        return [{"gold": list(f.ids), "top": [list(ids) for ids in f.top]} for f in forced]

    def judged(
        self,
        asked: Sequence[Probe],
        before: Sequence[Mapping[str, Any]],
        after: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, float]]:
        """Token accuracy; for locality, agreement with the tokens before the edit."""
        judged: list[dict[str, float]] = []
        for probe, old, new in zip(asked, before, after, strict=True):
            if probe.measures in REACH:
                judged.append({probe.measures: token_accuracy(new["gold"], new["top"])})
                continue
            judged.append({probe.measures: top_k_agreement(old["top"], new["top"], 1)})
            if probe.measures == PAPER_LOCALITY:
                judged[-1]["loc@10"] = top_k_agreement(old["top"], new["top"], TOP)
        return judged


PROTOCOLS: dict[str, EvaluationProtocol] = {p.name: p for p in (Generate(), TeacherForced())}


def scores(
    asked: Sequence[Probe],
    judged: Sequence[Mapping[str, float]],
    touched: Collection[str] = (),
) -> dict[str, float]:
    """Means of one edit by what they measure; "Loc" is the paper's kind of locality.

    touched: things and wider facts that other edits of the same run changed; locality probes about
    them are left out. What has no probe is left out.
    """
    by_measure: dict[str, list[float]] = {}
    for probe, outcome in zip(asked, judged, strict=True):
        if probe.measures in REACH or not {probe.shows, *probe.within} & {*touched}:
            for name, value in outcome.items():
                by_measure.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in by_measure.items()}
    for name in (PAPER_LOCALITY, PAPER_LOCALITY + TEXT):
        if name in means:
            means[name.replace(PAPER_LOCALITY, "Loc")] = means.pop(name)
    return means


def named(protocol: EvaluationProtocol, samples: Sequence[EditSample]) -> dict[str, str]:
    """What a report says of how answers to these edits' questions are judged: the protocol, and
    the rule where it is not the exact match of whole answers."""
    about = {"protocol": protocol.name}
    if protocol.name == Generate.name and any(s.style == "plain" for s in samples):
        about["judged"] = SENTENCES
    return about
