"""What is done next: which questions go into a batch together, and when work comes between them.

Pure policy. It starts nothing, waits for nothing and locks nothing; time comes from the clock that
it is given, and it knows neither threads nor models nor HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from balancedit.serving.engine.pace import Pace
from balancedit.serving.engine.protocol import Draining, Overloaded

P = TypeVar("P")


@dataclass(frozen=True)
class Limits:
    """queue, works: questions, and works, that may wait. batch: rows of a batch. wait: seconds that
    a batch which is not full waits for company, and only while nothing runs. facts: that may be
    taught between two batches while questions wait."""

    queue: int = 128
    works: int = 32
    batch: int = 16
    wait: float = 0.005
    facts: int = 4


@dataclass(eq=False)
class Item(Generic[P]):
    """Something that waits. facts: that it teaches; None: it is a question. bucket: questions of
    one bucket may share a batch; None until that is known, which keeps its place meanwhile."""

    payload: P
    arrived: float
    deadline: float | None = None
    facts: int | None = None
    bucket: Hashable | None = None
    ready: float = 0.0

    @property
    def cost(self) -> int:
        """What it takes of the facts between two batches."""
        return max(1, self.facts or 0)


@dataclass(frozen=True)
class Step(Generic[P]):
    """What to do now: answer items or do the work of one, and then say `done`; or come back after
    so many seconds, None: when something has changed. expired: items that nobody waits for any
    more, taken out."""

    kind: Literal["answers", "work", "wait"]
    items: tuple[Item[P], ...] = ()
    seconds: float | None = None
    expired: tuple[Item[P], ...] = ()


class Batcher(Generic[P]):
    """The queue of one engine, and its policy.

    Questions go in the order in which they came, as many of one bucket together as a batch holds.
    Work goes before questions, until it has taught as much as may be between two batches: then a
    batch comes first, at once.
    """

    def __init__(self, clock: Callable[[], float], limits: Limits | None = None) -> None:
        self._clock = clock
        self.limits = limits or Limits()
        self.pace = Pace()
        self._questions: dict[Item[P], None] = {}  # in the order of arrival
        self._works: dict[Item[P], None] = {}
        self._running: tuple[Item[P], ...] = ()
        self._begun = 0.0
        self._ended = float("-inf")  # when the engine last became free
        self._spent = 0  # facts since the last batch
        self._draining = False

    # -- what comes in -----------------------------------------------------------------------

    def add_question(
        self, payload: P, *, deadline: float | None = None, bucket: Hashable | None = None
    ) -> Item[P]:
        """Take a question on. Raises `Overloaded` where too many wait, or what waits will likely
        take until after its deadline, and `Draining`."""
        item = Item(payload, self._clock(), deadline, None, bucket, self._clock())
        self._check(item, self._questions, self.limits.queue)
        self._questions[item] = None
        return item

    def add_work(self, payload: P, *, facts: int = 0, deadline: float | None = None) -> Item[P]:
        """Take a work on. Raises as `add_question` does."""
        item = Item(payload, self._clock(), deadline, facts)
        self._check(item, self._works, self.limits.works)
        self._works[item] = None
        return item

    def make_ready(self, item: Item[P], bucket: Hashable) -> None:
        """A question's bucket is known: it may go."""
        item.bucket, item.ready = bucket, self._clock()

    def drop(self, item: Item[P]) -> bool:
        """Take out what waits; False where it does not wait any more."""
        waiting = self._questions if item.facts is None else self._works
        if item not in waiting:
            return False
        del waiting[item]
        return True

    def drain(self) -> None:
        """Take nothing on any more."""
        self._draining = True

    # -- what is at hand ---------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Questions that wait."""
        return len(self._questions)

    @property
    def works(self) -> int:
        """Works that wait."""
        return len(self._works)

    @property
    def running(self) -> Sequence[Item[P]]:
        """What is being done."""
        return self._running

    @property
    def draining(self) -> bool:
        """Whether nothing is taken on."""
        return self._draining

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is being done."""
        return not (self._questions or self._works or self._running)

    def everything(self) -> tuple[Item[P], ...]:
        """All that waits, which is taken out."""
        waiting = (*self._questions, *self._works)
        self._questions.clear()
        self._works.clear()
        return waiting

    # -- what is done ------------------------------------------------------------------------

    def next(self) -> Step[P]:
        """What to do now; called when nothing is being done."""
        assert not self._running, "the step before has not been said to be done"
        now = self._clock()
        expired = self._expired(now)
        work = next(iter(self._works), None)
        buckets = self._buckets()
        if work is not None and (not buckets or self._may_spend(work)):
            self._spent += work.cost
            return self._go("work", [work], now, expired)
        best, soonest = None, None
        for items in buckets:  # that of the oldest question first
            due = now if work is not None or self._draining else self._due(items)
            if due <= now:  # what is due goes with the oldest first, but a full batch by itself
                best = items if len(items) >= self.limits.batch else buckets[0]
                break
            soonest = due if soonest is None else min(due, soonest)
        if best is None:
            seconds = None if soonest is None else soonest - now
            return Step("wait", seconds=seconds, expired=expired)
        self._spent = 0
        return self._go("answers", best, now, expired)

    def done(self) -> None:
        """The last step has come to its end."""
        now = self._clock()
        if self._running:
            first, *_ = self._running
            facts = None if first.facts is None else first.cost
            self.pace.took(now - self._begun, facts, len(self._running))
        self._running, self._ended = (), now

    # -- policy ------------------------------------------------------------------------------

    def _check(self, item: Item[P], waiting: Collection[Item[P]], most: int) -> None:
        if self._draining:
            raise Draining
        ahead = self._seconds_ahead()
        if len(waiting) >= most:
            raise Overloaded(_worth(ahead / 2))
        if item.deadline is not None and ahead > 0 and item.arrived + ahead > item.deadline:
            raise Overloaded(_worth(item.arrived + ahead - item.deadline))

    def _seconds_ahead(self) -> float:
        """How long what waits will likely take."""
        facts = sum(item.cost for item in self._works)
        return self.pace.seconds(len(self._questions), facts)

    def _may_spend(self, work: Item[P]) -> bool:
        """Whether a work may go before the questions that wait; a large one only as the first."""
        return not self._spent or self._spent + work.cost <= self.limits.facts

    def _expired(self, now: float) -> tuple[Item[P], ...]:
        late = [
            item
            for item in (*self._questions, *self._works)
            if item.deadline is not None and item.deadline <= now
        ]
        for item in late:
            self.drop(item)
        return tuple(late)

    def _buckets(self) -> list[list[Item[P]]]:
        """The questions that may go, by bucket, as many of each as a batch holds."""
        found: dict[Hashable, list[Item[P]]] = {}
        for item in self._questions:
            if item.bucket is not None:
                some = found.setdefault(item.bucket, [])
                if len(some) < self.limits.batch:
                    some.append(item)
        return list(found.values())

    def _due(self, items: Sequence[Item[P]]) -> float:
        """When a batch of these should go. Those who were just answered ask again in a moment, so
        one that is not full waits for them too."""
        if len(items) >= self.limits.batch:
            return float("-inf")
        return max(min(item.ready for item in items), self._ended) + self.limits.wait

    def _go(
        self,
        kind: Literal["answers", "work"],
        items: Sequence[Item[P]],
        now: float,
        expired: tuple[Item[P], ...],
    ) -> Step[P]:
        for item in items:
            self.drop(item)
        self._running, self._begun = tuple(items), now
        return Step(kind, self._running, expired=expired)


def _worth(seconds: float) -> float:
    """Seconds to tell somebody to wait."""
    return min(60.0, max(1.0, seconds))
