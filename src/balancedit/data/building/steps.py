"""The questions that are put to a language model about one fact, and what a reply must be.

The wordings of rephrasing, object and third option are the paper's (Appendix A.1); it gives none
for the counterfactual and its kind, so those are ours. Where a short answer in brackets is wanted,
a worked example goes before, as in its authors' code: models keep to a form they have seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from balancedit.data.building.facts import Fact
from balancedit.inputs.answers import answer_form, same_answer, wording
from balancedit.inputs.text import listed

#: What earlier steps gave, by the step's name.
Done = Mapping[str, Any]

COUNTERFACTUAL, REPHRASES, OBJECT = "counterfactual", "rephrases", "object"
LOCALITY_ANSWER, LOCALITY_OBJECT, KIND = "locality-answer", "locality-object", "kind"
IMAGES, LOCALITY_IMAGE = "images", "locality-image"

#: The two kinds of counterfactual, named as the authors' field `counterfact_type` names them.
KINDS = ("image-text based", "text based")
MAX_WORDS = 8  # of a short answer; longer ones are explanations
MAX_OBJECT_WORDS = 25

_GIVEN = "Given (question: {question}, answer: {answer}), "
_OBJECT = _GIVEN + (
    "what object should be in the image? Short answer. The objects in the image should be"
)
PROMPTS = {
    COUNTERFACTUAL: _GIVEN
    + "what could be a wrong but plausible answer of the same sort? Short answer. "
    "The counterfactual answer: []",
    REPHRASES: "Please rephrase the following question in {n} different ways: {question}",
    OBJECT: _OBJECT,
    LOCALITY_ANSWER: "Given (question: {question}, A: [{answer}], B: [{counterfactual}]), what "
    "could be another option? Short answer. C: []",
    LOCALITY_OBJECT: _OBJECT,
    KIND: "An image shows {object}. The answer to '{question}' changes from '{answer}' to "
    "'{counterfactual}'. Is that another identity of what the image shows (image-text based), or "
    "another fact about the same thing (text based)? Answer [image-text based] or [text based].",
}


_EXAMPLE = {
    "question": "What animal is on the sofa?",
    "answer": "cat",
    "counterfactual": "dog",
    "object": "a cat on a sofa",
}
#: Step -> what its worked example is about, and the reply to it.
EXAMPLES: dict[str, tuple[dict[str, str], str]] = {
    COUNTERFACTUAL: (_EXAMPLE, "[dog]"),
    OBJECT: (_EXAMPLE, "[a cat on a sofa]"),
    LOCALITY_ANSWER: (_EXAMPLE, "C: [rabbit]"),
    LOCALITY_OBJECT: (_EXAMPLE | {"answer": "rabbit"}, "[a rabbit on a sofa]"),
    KIND: (_EXAMPLE, "[image-text based]"),
}


class Rejected(Exception):
    """A reply that does not do; the text says why."""


@dataclass(frozen=True)
class TextStep:
    """A prompt to the language model and the reading of its reply, which raises `Rejected`.

    answer: which answer the prompt is about, the fact's or an earlier step's.
    """

    name: str
    read: Callable[[str, Fact, Done, int], Any]
    answer: str | None = None

    def example(self) -> tuple[str, str] | None:
        """The prompt and the reply of the worked example, where there is one."""
        if self.name not in EXAMPLES:
            return None
        fields, reply = EXAMPLES[self.name]
        return PROMPTS[self.name].format(**fields), reply

    def prompt(self, fact: Fact, done: Done, n: int) -> str:
        """The prompt for one fact; n: rephrasings wanted."""
        return PROMPTS[self.name].format(
            question=fact.question,
            answer=done[self.answer] if self.answer else fact.answer,
            counterfactual=done.get(COUNTERFACTUAL, ""),
            object=done.get(OBJECT, ""),
            n=n,
        )


#: What models put before an answer: "C:", "The objects should be:", "The image should show".
_LABEL = re.compile(
    r"^\s*(?:[A-C]\s*[:.)]|[^:]{0,60}:\s|(?:\w+\s){1,6}should\s(?:be|contain|show|have)\s)", re.I
)


def short_answer(reply: str, limit: int = MAX_WORDS) -> str:
    """The answer in a reply: what stands in the first brackets, else the first line, without a
    label in front. Raises `Rejected` for none, and for an explanation."""
    bracketed = re.search(r"\[([^\[\]]+)\]", reply)
    lines = [line for line in reply.splitlines() if line.strip()]
    text = bracketed[1] if bracketed else (lines[0] if lines else "")
    text = _LABEL.sub("", text)
    text = text.strip().strip("\"'`*").rstrip(".").strip()
    if not wording(text):
        raise Rejected("the reply holds no answer")
    if len(text.split()) > limit:
        raise Rejected(f"the reply has {len(text.split())} words, not a short answer")
    return text


def _counterfactual(reply: str, fact: Fact, done: Done, n: int) -> str:
    return _another(reply, fact, {"the true answer": fact.answer})


def _locality_answer(reply: str, fact: Fact, done: Done, n: int) -> str:
    others = {"the true answer": fact.answer, "the counterfactual": done[COUNTERFACTUAL]}
    return _another(reply, fact, others)


def _another(reply: str, fact: Fact, others: Mapping[str, str]) -> str:
    """An answer to the fact's question that neither is nor holds one of the others."""
    answer = short_answer(reply)
    if "?" in answer or wording(fact.question) in wording(answer):
        raise Rejected(f"'{answer}' repeats the question")
    for name, other in others.items():
        if same_answer(answer, other):
            raise Rejected(f"'{answer}' is {name}")
        form = wording if wording(other) == answer_form(other) else answer_form  # signs count
        if f" {form(other)} " in f" {form(answer)} ":
            raise Rejected(f"'{answer}' holds {name}")
    return answer


def _object(reply: str, fact: Fact, done: Done, n: int) -> str:
    return short_answer(reply, MAX_OBJECT_WORDS)


def _rephrases(reply: str, fact: Fact, done: Done, n: int) -> list[str]:
    seen, kept = {wording(fact.question)}, []
    for text in listed(reply):
        fits = text.endswith("?") and len(text) <= 3 * len(fact.question) + 60
        if fits and wording(text) and wording(text) not in seen:
            seen.add(wording(text))
            kept.append(text)
    if len(kept) < n:
        raise Rejected(f"{len(kept)} of {n} rephrasings are questions that differ from the others")
    return kept[:n]


def _kind(reply: str, fact: Fact, done: Done, n: int) -> str:
    words = re.sub(r"[^a-z]+", " ", reply.lower())
    if "image text" in words:
        return KINDS[0]
    if "text base" in words:
        return KINDS[1]
    raise Rejected("the reply names neither kind")


TEXT_STEPS = (
    TextStep(COUNTERFACTUAL, _counterfactual),
    TextStep(REPHRASES, _rephrases),
    TextStep(OBJECT, _object),
    TextStep(LOCALITY_ANSWER, _locality_answer),
    TextStep(LOCALITY_OBJECT, _object, answer=LOCALITY_ANSWER),
    TextStep(KIND, _kind),
)
#: Tokens that a reply is expected to have, for the estimate of the cost.
REPLY_TOKENS = {REPHRASES: 200, KIND: 12}
USUAL_REPLY = 10


@dataclass(frozen=True)
class ImageStep:
    """Pictures to be painted of what an earlier step named."""

    name: str
    object: str
    folder: str


IMAGE_STEPS = (
    ImageStep(IMAGES, OBJECT, "rephrased_images"),
    ImageStep(LOCALITY_IMAGE, LOCALITY_OBJECT, "locality_images"),
)
