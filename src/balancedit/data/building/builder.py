"""Running the steps of Appendix A over facts, several at a time, and writing the data set.

A fact is done when every step has an accepted reply. One whose step was rejected as often as it may
be tried, or whose endpoint stayed unavailable, is set aside with the reason, and the others go on.
What is on the disk decides what is left to do, so a build that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import balancedit
from balancedit.data import jsonl
from balancedit.data.building import pictures
from balancedit.data.building.facts import Fact
from balancedit.data.building.ledger import DIRECTORY, Key, Ledger
from balancedit.data.building.models import Painter, Unavailable, Writer
from balancedit.data.building.steps import (
    COUNTERFACTUAL,
    IMAGE_STEPS,
    IMAGES,
    KIND,
    LOCALITY_ANSWER,
    LOCALITY_IMAGE,
    LOCALITY_OBJECT,
    OBJECT,
    PROMPTS,
    REPHRASES,
    REPLY_TOKENS,
    TEXT_STEPS,
    USUAL_REPLY,
    ImageStep,
    Rejected,
    TextStep,
)
from balancedit.data.sample import EditSample, FileImage, LocalityProbe
from balancedit.errors import DataError
from balancedit.store.files import write_durably

PART, MANIFEST = "eval", "manifest.json"


@dataclass(frozen=True)
class Plan:
    """What is built. attempts: replies tried a step before its fact is set aside."""

    rephrases: int = 10
    images: int = 10
    seed: int = 0
    attempts: int = 3
    concurrency: int = 4

    def identity(self) -> dict[str, Any]:
        """What two starts of one build must share."""
        return {"rephrases": self.rephrases, "images": self.images, "seed": self.seed}

    def pictures(self, step: ImageStep) -> int:
        """How many pictures a step paints."""
        return self.images if step.name == IMAGES else 1


@dataclass(frozen=True)
class Estimate:
    """What is left to ask, if every first reply does. Tokens are guessed at four characters each.

    Prices are in any currency: a million tokens in and out, and a picture.
    """

    facts: int
    texts: int
    images: int
    tokens_in: int
    tokens_out: int

    def cost(self, price_in: float, price_out: float, price_image: float) -> float:
        """The sum of what is left."""
        tokens = self.tokens_in * price_in + self.tokens_out * price_out
        return tokens / 1e6 + self.images * price_image


@dataclass(frozen=True)
class Outcome:
    """What a start of the build came to: ids of complete facts, and id -> why of the others."""

    complete: tuple[str, ...]
    set_aside: dict[str, str]


class Builder:
    """Builds a data set of `facts` in `directory`. Raises `DataError` where that holds another
    build."""

    def __init__(
        self,
        facts: Sequence[Fact],
        directory: Path,
        plan: Plan,
        source: dict[str, Any],
        models: tuple[str, str],
    ) -> None:
        """source: the facts' hash and licence; models: the names of the language and the image
        model. Both become part of the build's identity."""
        self._facts, self._directory, self._plan = facts, directory, plan
        self._prompts = {"prompts": PROMPTS, "examples": {s.name: s.example() for s in TEXT_STEPS}}
        worded = json.dumps(self._prompts, sort_keys=True)
        self._identity = {
            **plan.identity(),
            "source": source,
            "llm": models[0],
            "image_model": models[1],
            "prompts_sha256": hashlib.sha256(worded.encode()).hexdigest(),
        }
        self._ledger = Ledger(directory, self._identity)
        self._stopping = threading.Event()

    def estimate(self) -> Estimate:
        """What is left to ask."""
        texts = images = tokens_in = tokens_out = facts = 0
        for fact in self._facts:
            left = [s for s in TEXT_STEPS if self._value(fact, s.name) is None]
            unpainted = sum(
                self._picture(fact, step, index) is None
                for step in IMAGE_STEPS
                for index in range(self._plan.pictures(step))
            )
            facts += bool(left or unpainted)
            texts, images = texts + len(left), images + unpainted
            size = len(fact.question) + len(fact.answer)
            tokens_in += sum((_length(step) + size) // 4 for step in left)
            tokens_out += sum(REPLY_TOKENS.get(s.name, USUAL_REPLY) for s in left)
        return Estimate(facts, texts, images, tokens_in, tokens_out)

    def run(self, writer: Writer, painter: Painter, advance: Callable[[str], None]) -> Outcome:
        """Ask what is left, then write the data set and its manifest.

        advance: called with a description after each fact. Raises `DataError` where going on makes
        no sense (a refused key, a full disk); what was answered until then is kept.
        """
        aside: dict[str, str] = {}
        pool = ThreadPoolExecutor(self._plan.concurrency)
        try:
            running = {pool.submit(self._fact, f, writer, painter): f for f in self._facts}
            for future in as_completed(running):
                fact = running[future]
                if reason := future.result():
                    aside[fact.id] = reason
                advance(f"set aside {fact.id}" if reason else f"built {fact.id}")
        finally:
            self._stopping.set()
            writer.close()
            painter.close()
            pool.shutdown(wait=True, cancel_futures=True)
        outcome = Outcome(
            tuple(f.id for f in self._facts if f.id not in aside),
            {f.id: aside[f.id] for f in self._facts if f.id in aside},
        )
        self._write(outcome)
        return outcome

    # -- one fact ----------------------------------------------------------------------------

    def _fact(self, fact: Fact, writer: Writer, painter: Painter) -> str | None:
        """Do what is left of one fact; the reason where it must be set aside."""
        done: dict[str, Any] = {}
        try:
            for text in TEXT_STEPS:
                done[text.name] = self._text(fact, text, done, writer)
            for image in IMAGE_STEPS:
                for index in range(self._plan.pictures(image)):
                    self._image(fact, image, index, done[image.object], painter)
        except Rejected as error:
            return str(error)
        except Unavailable as error:
            return f"the endpoint gave {error}"
        return None

    def _text(self, fact: Fact, step: TextStep, done: dict[str, Any], writer: Writer) -> Any:
        key: Key = (fact.id, step.name, 0)
        prompt = step.prompt(fact, done, self._plan.rephrases)
        while (value := self._ledger.accepted(key)) is None:
            seed = self._next_seed(key)
            reply = writer.write(prompt, seed, step.example())
            row: dict[str, Any] = {
                "prompt": prompt,
                "seed": seed,
                "reply": reply.text,
                "tokens_in": reply.tokens_in,
                "tokens_out": reply.tokens_out,
            }
            try:
                row["value"] = step.read(reply.text, fact, done, self._plan.rephrases)
            except Rejected as error:
                row["rejected"] = str(error)
            self._ledger.add(key, row)
        return value

    def _image(self, fact: Fact, step: ImageStep, index: int, shown: str, painter: Painter) -> None:
        key: Key = (fact.id, step.name, index)
        while self._picture(fact, step, index) is None:
            seed = self._next_seed(key)
            data = painter.paint(shown, seed)
            row: dict[str, Any] = {"prompt": shown, "seed": seed}
            name = f"{step.folder}/{fact.id}/{index}.png"
            try:
                pictures.check(data)
                row["value"] = {"file": name, "sha256": hashlib.sha256(data).hexdigest()}
            except Rejected as error:
                tried = len(self._ledger.rejections(key))
                name = f"{DIRECTORY}/rejected/{fact.id}-{step.name}-{index}-{tried}"
                row |= {"rejected": str(error), "file": name}
            self._keep(name, data)
            self._ledger.add(key, row)

    def _next_seed(self, key: Key) -> int:
        """The seed of a step's next try: fixed by the build's seed, the step and the try's number.

        Raises `Rejected` where it was tried often enough, `Unavailable` when the build is ending.
        """
        if self._stopping.is_set():
            raise Unavailable("nothing, for the build was ending")
        reasons = self._ledger.rejections(key)
        if len(reasons) >= self._plan.attempts:
            raise Rejected(f"{key[1]}: {len(reasons)} replies rejected, the last: {reasons[-1]}")
        text = json.dumps([self._plan.seed, *key, len(reasons)])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    def _value(self, fact: Fact, step: str) -> Any:
        return self._ledger.accepted((fact.id, step, 0))

    def _picture(self, fact: Fact, step: ImageStep, index: int) -> str | None:
        """The file of an accepted picture, if it is still there."""
        value = self._ledger.accepted((fact.id, step.name, index))
        if value is None or not (self._directory / value["file"]).is_file():
            return None
        return str(value["file"])

    def _keep(self, name: str, data: bytes) -> None:
        path = self._directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, data)
        except OSError as error:
            raise DataError(
                f"the build stops, for '{path}' cannot be written ({error.strerror or error}); "
                "free some disk and start again: it goes on here"
            ) from error

    # -- the data set ------------------------------------------------------------------------

    def _write(self, outcome: Outcome) -> None:
        """The data set in our own format, and the manifest beside it."""
        complete = {*outcome.complete}
        samples = [self._sample(fact) for fact in self._facts if fact.id in complete]
        lines = "".join(json.dumps(jsonl.line(s), ensure_ascii=False) + "\n" for s in samples)
        manifest = {
            **self._identity,
            **self._prompts,
            "balancedit": balancedit.__version__,
            "complete": len(complete),
            "set_aside": outcome.set_aside,
            "rejected_replies": dict(Counter(self._rejected_steps())),
            "tokens_in": self._ledger.tokens_in,
            "tokens_out": self._ledger.tokens_out,
        }
        self._keep(f"{PART}.jsonl", lines.encode())
        self._keep(MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())

    def _rejected_steps(self) -> Iterator[str]:
        for fact in self._facts:
            for step in TEXT_STEPS:
                yield from (step.name for _ in self._ledger.rejections((fact.id, step.name, 0)))
            for painted in IMAGE_STEPS:
                for index in range(self._plan.pictures(painted)):
                    key = (fact.id, painted.name, index)
                    yield from (painted.name for _ in self._ledger.rejections(key))

    def _sample(self, fact: Fact) -> EditSample:
        painted = {
            step.name: tuple(
                FileImage(self._directory, str(self._picture(fact, step, index)))
                for index in range(self._plan.pictures(step))
            )
            for step in IMAGE_STEPS
        }
        image = self._original(fact)
        return EditSample(
            id=fact.id,
            image=image,
            question=fact.question,
            target=self._value(fact, COUNTERFACTUAL),
            original_answer=fact.answer,
            rephrases=tuple(self._value(fact, REPHRASES)),
            image_rephrases=painted[IMAGES],
            locality=(
                LocalityProbe(
                    "similar",
                    painted[LOCALITY_IMAGE][0],
                    fact.question,
                    self._value(fact, LOCALITY_ANSWER),
                    shows=self._value(fact, LOCALITY_OBJECT).lower(),
                ),
            ),
            portability=(),
            category=fact.category,
            kind=self._value(fact, KIND),
            shows=self._value(fact, OBJECT).lower(),
        )

    def _original(self, fact: Fact) -> FileImage:
        """The fact's picture, copied beside the others so that the data set stands alone."""
        name = f"images/{fact.id}{PurePosixPath(fact.image.name).suffix}"
        if not (self._directory / name).is_file():
            try:
                data = (fact.image.root / fact.image.name).read_bytes()
            except OSError as error:
                raise DataError(
                    f"'{fact.image.root / fact.image.name}' cannot be read "
                    f"({error.strerror or error}); put it back and start again"
                ) from error
            self._keep(name, data)
        return FileImage(self._directory, name)


def _length(step: TextStep) -> int:
    """Characters that are asked besides the fact's own."""
    return len(PROMPTS[step.name]) + sum(map(len, step.example() or ()))
