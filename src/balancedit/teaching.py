"""How facts become edits in force: prepared, learned, recorded and committed, in that order."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice

from balancedit.answering.generate import (
    check_prompt,
    generate_answers,
    is_remembered,
    remembering,
    untouched,
)
from balancedit.errors import BalanceditError, EditFailedError
from balancedit.holding import Holding
from balancedit.inputs.answers import answer_form, question_form, same_answer
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import picture_hash, small_copy
from balancedit.layer.decisions import Said
from balancedit.methods import EditRequest, LearnedEdit, Method
from balancedit.models.loading import LoadedModel
from balancedit.scope.again import CheckedFact, asked_alike, checked, known, no_fact_twice
from balancedit.scope.samples import negative_sample, positive_samples
from balancedit.store.protocol import Keeping
from balancedit.types import BATCH_SIZE, Edit, Fact, FailedEdit, PositiveSource

#: Told what comes of a fact: its number, and the edit or the failure.
Settled = Callable[[int, Edit | FailedEdit], None]
#: What the model says now about facts.
Ask = Callable[[Sequence["PreparedFact"]], Sequence[Said]]


@dataclass(frozen=True)
class PreparedFact:
    """A fact to learn. number: its place among those given; new: the model knows nothing of it;
    negative: name of the negative picture; warnings: what is to be said of its rephrasings;
    seconds: how long preparing it took, most of it the model's own rephrasing where none is given.
    """

    number: int
    new: bool
    request: EditRequest
    positives_source: PositiveSource
    negative: str
    warnings: tuple[str, ...]
    seconds: float

    @property
    def query(self) -> Row:
        """What the fact is about: its picture and question."""
        return self.request.image, self.request.question

    def failed(self, error: BalanceditError) -> FailedEdit:
        """What is said of it where it could not be learned."""
        return FailedEdit(self.number, self.request.question, error)


def prepared(loaded: LoadedModel, method: Method, fact: CheckedFact) -> PreparedFact:
    """Make what a fact's scope is measured with. Called while attached. Raises `InputError` or
    `ImageError`."""
    started = time.perf_counter()
    given = fact.given
    anchor, anchor_name = negative_sample(given.negative, method.negative, fact.picture)
    loaded.prompter.check_answer(fact.answer)
    check_prompt(loaded, fact.query, fact.answer)
    if anchor_name == "given":
        check_prompt(loaded, (anchor, fact.question))
    with method.routing.bypass():
        positives = positive_samples(
            fact.question, given.rephrasings, method.positives, loaded.rephraser
        )
    for reworded in positives.texts if positives.source == "given" else ():
        check_prompt(loaded, (fact.picture, reworded))
    return PreparedFact(
        fact.number,
        given.new,
        EditRequest(fact.picture, fact.question, fact.answer, positives.texts, anchor),
        positives.source,
        anchor_name,
        positives.warnings,
        time.perf_counter() - started,
    )


def with_untouched(
    loaded: LoadedModel, method: Method, facts: Sequence[PreparedFact]
) -> list[PreparedFact]:
    """The facts, but for new ones, with what the untouched model says to their questions. Called
    while attached."""
    if all(fact.new for fact in facts):
        return list(facts)
    said = untouched(loaded, method, [fact.query for fact in facts])  # of all, as they are asked
    return [
        fact if fact.new else replace(fact, request=replace(fact.request, untouched=text))
        for fact, text in zip(facts, said, strict=True)
    ]


def record_of(
    method: str, fact: PreparedFact, learned: LearnedEdit, before: str, seconds: float
) -> Edit:
    """The record of a learned fact. before: what the model answers while it is not in force;
    seconds: how long learning it took, beside preparing it."""
    request = fact.request
    return Edit(
        id=secrets.token_hex(4),
        question=request.question,
        target=request.target,
        answer_before=before,
        answer_after=None,
        radius=learned.radius,
        d_positive=learned.d_positive,
        d_negative=learned.d_negative,
        positives=request.positives,
        positives_source=fact.positives_source,
        negative=fact.negative,
        image_sha256=picture_hash(request.image),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(fact.seconds + seconds, 3),
        steps=learned.steps,
        loss=learned.loss,
        method=method,
        old_answer=learned.old_answer,
        old_tokens=learned.old_tokens,
        overlaps=learned.overlaps,
        retires=learned.retires,
        warnings=(*fact.warnings, *learned.warnings),
    )


def with_outcome(edit: Edit, said: Said) -> Edit:
    """The record once it is known what is answered just after the edit."""
    after = said.text
    warnings = list(edit.warnings)
    if same_answer(edit.answer_before, edit.target):
        warnings.append(f"the model already answered '{edit.answer_before}' before the edit")
    if not same_answer(after, edit.target):
        cut = f" and more (cut after {len(said.ids)} tokens)" if said.cut else ""
        warnings.append(f"after the edit the model answers '{after}'{cut}, not '{edit.target}'")
    return replace(edit, answer_after=after, warnings=tuple(warnings))


class Teacher:
    """Teaches a model facts and keeps what it learned. Called while attached."""

    def __init__(
        self, loaded: LoadedModel, method: Method, store: Keeping, holding: Holding
    ) -> None:
        self._loaded = loaded
        self._method = method
        self._store = store
        self._holding = holding

    def teach(
        self, facts: Iterable[Fact], progress: Callable[[Edit | FailedEdit], None] | None = None
    ) -> list[Edit | FailedEdit]:
        """Teach facts, so many at a time; what comes of each, in their order. progress: told each
        as it is settled. Raises `StoreError` when the store fails; what is stored by then stands.
        """
        outcomes: dict[int, Edit | FailedEdit] = {}

        def settled(number: int, outcome: Edit | FailedEdit) -> None:
            outcomes[number] = outcome
            if progress is not None:
                progress(outcome)

        numbered = enumerate(facts)
        while some := list(islice(numbered, BATCH_SIZE)):
            with remembering(self._loaded, self._method):
                self._teach(some, settled)
        return [outcomes[number] for number in sorted(outcomes)]

    def _teach(self, facts: Sequence[tuple[int, Fact]], settled: Settled) -> None:
        """Teach some facts, given with their numbers; those that are in force are left as they
        are."""
        with self._only_stored():
            for part in no_fact_twice(self._checked(facts, settled)):
                there = self.in_force(part)
                for number, edit in there.items():
                    settled(number, known(edit))
                if wanted := [fact for fact in part if fact.number not in there]:
                    self._learn(wanted, settled)

    @contextmanager
    def _only_stored(self) -> Iterator[None]:
        """What is put in force inside the context and not stored when it is interrupted, by the
        store, by the caller's `progress` or by Ctrl-C, is in force no longer."""
        try:
            yield
        except BaseException:
            self._holding.sync()
            raise

    def _checked(
        self, facts: Sequence[tuple[int, Fact]], settled: Settled
    ) -> Iterator[CheckedFact]:
        """The facts that can be read; the others are settled."""
        for number, fact in facts:
            try:
                yield checked(number, fact)
            except BalanceditError as error:
                settled(number, FailedEdit(number, str(fact.question), error))

    def in_force(self, facts: Sequence[CheckedFact]) -> dict[int, Edit]:
        """The edits, by their facts' numbers, that teach some of these facts already: the same
        picture, question and answer, made as is asked now, and the model gives that answer."""
        found: dict[int, Edit] = {}
        for fact in facts:
            for edit in self._holding.about(fact.name[0]):
                same = (question_form(edit.question), answer_form(edit.target)) == fact.name[1:]
                if same and self._asked_alike(edit, fact.given):
                    found[fact.number] = edit
        asked = [fact for fact in facts if fact.number in found]
        if not asked:
            return {}
        now = generate_answers(self._loaded, self._method, [fact.query for fact in asked])
        return {
            fact.number: found[fact.number]
            for fact, answer in zip(asked, now, strict=True)
            if same_answer(answer.text, fact.answer)
        }

    def _asked_alike(self, edit: Edit, fact: Fact) -> bool:
        rephrased, bounded = self._method.positives > 0, self._method.negative is not None
        return asked_alike(edit, fact, rephrased=rephrased, bounded=bounded)

    def _learn(self, facts: Sequence[CheckedFact], settled: Settled) -> None:
        """Learn facts, a batch at a time, and keep what comes of it."""
        ready = self._prepared(facts, settled)
        ask = partial(self._some_of, ready)
        left = iter(ready)
        started = time.perf_counter()
        for outcomes in self._method.learn_many([fact.request for fact in ready]):
            batch = list(zip(islice(left, len(outcomes)), outcomes, strict=True))
            good = [(f, o) for f, o in batch if not isinstance(o, EditFailedError)]
            before = ask([fact for fact, _ in good])
            share = (time.perf_counter() - started) / len(batch)
            records = [
                record_of(self._method.name, fact, learned, said.text, share)
                for (fact, learned), said in zip(good, before, strict=True)
            ]
            kept = self._kept(good, records, ask)
            for one, outcome in batch:
                settled(
                    one.number,
                    one.failed(outcome) if isinstance(outcome, EditFailedError) else next(kept),
                )
            started = time.perf_counter()

    def _prepared(self, facts: Sequence[CheckedFact], settled: Settled) -> list[PreparedFact]:
        """The facts that can be learned from; the others are settled."""
        ready: list[PreparedFact] = []
        for fact in facts:
            try:
                ready.append(prepared(self._loaded, self._method, fact))
            except BalanceditError as error:
                settled(fact.number, FailedEdit(fact.number, fact.question, error))
        if self._method.asks_untouched:
            return with_untouched(self._loaded, self._method, ready)
        return ready

    def _some_of(self, asked: Sequence[PreparedFact], wanted: Sequence[PreparedFact]) -> list[Said]:
        """What the model says now about some of the facts that were asked about together; where
        that batch is remembered it is asked again as it was, and so not read again."""
        rows = [fact.query for fact in asked]
        if not is_remembered(self._loaded, rows):
            few = [fact.query for fact in wanted]
            return [made.said for made in generate_answers(self._loaded, self._method, few)]
        answers = generate_answers(self._loaded, self._method, rows)
        said = {fact.number: made.said for fact, made in zip(asked, answers, strict=True)}
        return [said[fact.number] for fact in wanted]

    def _kept(
        self,
        learned: Sequence[tuple[PreparedFact, LearnedEdit]],
        records: Sequence[Edit],
        ask: Ask,
    ) -> Iterator[Edit]:
        """Put a batch in force, see what it answers, and store its edits one by one, in order."""
        for (_, new), record in zip(learned, records, strict=True):
            for retired in new.retires:
                if retired in self._method.active():  # else found reverted when it was read
                    self._method.remove(retired)
            self._method.add(record, new.key, new.tensors)
        self._method.settle()
        after = ask([fact for fact, _ in learned])
        for (fact, new), record, said in zip(learned, records, after, strict=True):
            picture = small_copy(fact.request.image)
            done = with_outcome(record, said)
            kept = self._store.commit(done, new.key, dict(new.tensors), picture)
            self._holding.note(kept)
            yield kept
