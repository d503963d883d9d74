"""Running the steps of Appendix A over facts, several at a time, and writing the data set.

A fact is done when every step has an accepted reply. One whose step was rejected as often as it may
be tried, or whose endpoint stayed unavailable, is set aside with the reason, and the others go on.
What is on the disk decides what is left to do, so a build that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from balancedit.data.building import pictures, writing
from balancedit.data.building.facts import Fact
from balancedit.data.building.ledger import DIRECTORY, Key, Ledger
from balancedit.data.building.models import Painter, Unavailable, Writer
from balancedit.data.building.plan import Estimate, Outcome, Plan
from balancedit.data.building.steps import (
    IMAGE_STEPS,
    PROMPTS,
    REPLY_TOKENS,
    TEXT_STEPS,
    USUAL_REPLY,
    ImageStep,
    Rejected,
    TextStep,
)


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
        self._facts, self._plan = facts, plan
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
            left = [s for s in TEXT_STEPS if self._ledger.accepted((fact.id, s.name, 0)) is None]
            unpainted = sum(
                self._ledger.picture((fact.id, step.name, index)) is None
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
        about = self._identity | self._prompts
        writing.write(self._facts, self._ledger, self._plan, outcome, about)
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
        while self._ledger.picture(key) is None:
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
            self._ledger.keep(name, data)
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


def _length(step: TextStep) -> int:
    """Characters that are asked besides the fact's own."""
    return len(PROMPTS[step.name]) + sum(map(len, step.example() or ()))
