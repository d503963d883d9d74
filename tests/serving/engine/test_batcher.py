"""The batcher with a clock of its own: what goes together, what goes first, and that nothing is
lost or done twice, whatever comes in whatever order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from balancedit.serving.engine.batcher import Batcher, Item, Limits, Step
from balancedit.serving.engine.protocol import Draining, Overloaded

SMALL = Limits(queue=6, works=3, batch=3, wait=0.5, facts=4)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def batcher(clock: Clock) -> Batcher[str]:
    return Batcher(clock, SMALL)


def ask(
    batcher: Batcher[str], *names: str, bucket: str | None = "b", **more: Any
) -> list[Item[str]]:
    return [batcher.add_question(name, bucket=bucket, **more) for name in names]


def names(step: Step[str]) -> tuple[str, ...]:
    return tuple(item.payload for item in step.items)


def test_a_batch_that_is_not_full_waits_a_moment_for_company(batcher: Any, clock: Clock) -> None:
    ask(batcher, "a")
    clock.now += 0.2
    ask(batcher, "b")
    step = batcher.next()
    assert (step.kind, step.seconds) == ("wait", pytest.approx(0.3)), "as its first one came"
    clock.now += step.seconds
    assert names(batcher.next()) == ("a", "b")


def test_a_full_batch_goes_at_once_and_no_fuller(batcher: Any) -> None:
    ask(batcher, *"abcd")
    assert names(batcher.next()) == ("a", "b", "c")
    batcher.done()
    assert batcher.queued == 1


def test_those_who_were_just_answered_have_a_moment_to_ask_again(
    batcher: Any, clock: Clock
) -> None:
    ask(batcher, *"abc")
    batcher.next()
    clock.now += 9
    ask(batcher, "d")
    clock.now += 9
    batcher.done()
    assert batcher.next().seconds == pytest.approx(0.5)
    ask(batcher, *"ab")
    assert names(batcher.next()) == ("d", "a", "b")


def test_buckets_are_not_mixed_and_the_oldest_goes_first(batcher: Any, clock: Clock) -> None:
    ask(batcher, "x", bucket="other")
    ask(batcher, *"ab")
    clock.now += 1
    assert names(batcher.next()) == ("x",)
    batcher.done()
    clock.now += 1
    assert names(batcher.next()) == ("a", "b")


def test_an_older_question_that_was_opened_late_does_not_wait_for_a_younger_ones_batch(
    batcher: Any, clock: Clock
) -> None:
    (older,) = ask(batcher, "older", bucket=None)
    ask(batcher, "younger", bucket="b")
    clock.now += 0.5
    batcher.make_ready(older, "a")  # its own moment for company begins, the younger one's is over
    assert names(batcher.next()) == ("older",)


def test_a_question_keeps_its_place_while_it_is_opened(batcher: Any, clock: Clock) -> None:
    first = batcher.add_question("a")
    ask(batcher, "b")
    clock.now += 1
    assert names(batcher.next()) == ("b",)
    batcher.done()
    assert batcher.next() == Step("wait"), "nothing can go"
    batcher.make_ready(first, "b")
    assert batcher.next().seconds == pytest.approx(0.5)
    clock.now += 1
    assert names(batcher.next()) == ("a",)


def test_work_comes_between_batches_and_a_batch_between_works(batcher: Any, clock: Clock) -> None:
    ask(batcher, *"abcd")
    for name, facts in (("one", 3), ("two", 1), ("three", 1)):
        batcher.add_work(name, facts=facts)
    done = []
    for _ in range(5):
        done.append(names(batcher.next()))
        batcher.done()
        clock.now += 1
    assert done == [("one",), ("two",), ("a", "b", "c"), ("three",), ("d",)]


def test_a_work_larger_than_may_be_goes_alone_and_does_not_starve(batcher: Any) -> None:
    ask(batcher, "a")
    batcher.add_work("small", facts=1)
    batcher.add_work("large", facts=9)
    batcher.add_work("after", facts=0)
    ask(batcher, "b", bucket="c")
    done = []
    for _ in range(5):
        done.append(names(batcher.next()))
        batcher.done()
    assert done == [("small",), ("a",), ("large",), ("b",), ("after",)]


def test_work_alone_waits_for_nobody(batcher: Any) -> None:
    for name in "abc":
        batcher.add_work(name, facts=4)
    for name in "abc":
        assert names(batcher.next()) == (name,)
        batcher.done()
    assert batcher.is_empty


def test_what_is_too_much_is_refused_and_told_when_to_come_back(batcher: Any, clock: Clock) -> None:
    ask(batcher, *"abc")
    batcher.next()
    clock.now += 9
    batcher.done()  # three seconds an answer
    ask(batcher, *"abcdef")
    with pytest.raises(Overloaded) as refused:
        ask(batcher, "g")
    assert refused.value.retry_after == pytest.approx(9), "by then half of it is done"
    for name in "xyz":
        batcher.add_work(name)
    with pytest.raises(Overloaded):
        batcher.add_work("w")
    assert (batcher.queued, batcher.works) == (6, 3)


def test_a_deadline_that_will_pass_while_it_waits_is_refused_at_once(
    batcher: Any, clock: Clock
) -> None:
    ask(batcher, "a", deadline=clock.now + 0.1)  # nothing is known yet of how long things take
    clock.now += 1
    assert names_of_expired(batcher.next()) == ("a",)
    ask(batcher, *"abc")
    batcher.next()
    clock.now += 9
    batcher.done()
    ask(batcher, *"abc")
    with pytest.raises(Overloaded) as refused:
        ask(batcher, "d", deadline=clock.now + 5)
    assert refused.value.retry_after == pytest.approx(4)
    ask(batcher, "d", deadline=clock.now + 10)


def names_of_expired(step: Step[str]) -> tuple[str, ...]:
    return tuple(item.payload for item in step.expired)


def test_draining_takes_nothing_on_and_waits_for_no_company(batcher: Any) -> None:
    ask(batcher, "a")
    batcher.drain()
    with pytest.raises(Draining):
        ask(batcher, "b")
    with pytest.raises(Draining):
        batcher.add_work("w")
    assert names(batcher.next()) == ("a",)
    assert not batcher.is_empty
    batcher.done()
    assert batcher.is_empty


def test_how_fast_it_is_shows_what_was_seen_lately(batcher: Any, clock: Clock) -> None:
    assert batcher.pace.answers_per_second is None
    for seconds in [3.0] * 5 + [0.3] * 200:
        ask(batcher, *"abc")
        batcher.next()
        clock.now += seconds
        batcher.done()
    assert batcher.pace.answers_per_second == pytest.approx(10, rel=0.05)


class AnyOrder(RuleBasedStateMachine):
    """Arrivals, cancellations, deadlines and time in any order, against what must always hold."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.batcher: Batcher[int] = Batcher(self.clock, SMALL)
        self.waiting: dict[Item[int], None] = {}
        self.running: tuple[Item[int], ...] = ()
        self.settled: list[Item[int]] = []  # answered, done, expired or dropped
        self.refused: list[float] = []  # how long each was told to wait
        self.taken = 0
        self.works_since_batch: list[int] = []  # while questions could have gone

    def take(self, add: Any) -> None:
        full = self.batcher.queued >= SMALL.queue, self.batcher.works >= SMALL.works
        try:
            item = add()
        except Overloaded as refused:
            self.refused.append(refused.retry_after)
            return
        assert not full[item.facts is not None], "taken on beyond its bound"
        self.taken += 1
        self.waiting[item] = None

    def ready(self) -> list[Item[int]]:
        return [i for i in self.waiting if i.facts is None and i.bucket is not None]

    @rule(bucket=st.sampled_from(["a", "b", None]), left=st.none() | st.floats(0.1, 20))
    def a_question_comes(self, bucket: str | None, left: float | None) -> None:
        deadline = None if left is None else self.clock.now + left
        self.take(lambda: self.batcher.add_question(self.taken, deadline=deadline, bucket=bucket))

    @rule(facts=st.integers(0, 6), left=st.none() | st.floats(0.1, 20))
    def a_work_comes(self, facts: int, left: float | None) -> None:
        deadline = None if left is None else self.clock.now + left
        self.take(lambda: self.batcher.add_work(self.taken, facts=facts, deadline=deadline))

    @rule(data=st.data())
    def a_question_is_opened(self, data: st.DataObject) -> None:
        closed = [i for i in self.waiting if i.facts is None and i.bucket is None]
        if closed:
            self.batcher.make_ready(data.draw(st.sampled_from(closed)), "a")

    @rule(data=st.data())
    def somebody_leaves(self, data: st.DataObject) -> None:
        everyone = [*self.waiting, *self.running, *self.settled[-3:]]
        if everyone:
            item = data.draw(st.sampled_from(everyone))
            assert self.batcher.drop(item) == (item in self.waiting)
            if item in self.waiting:
                self.settle([item])

    @rule(seconds=st.floats(0.01, 3))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: not self.running)
    @rule()
    def the_next_step_is_taken(self) -> None:
        step = self.batcher.next()
        assert set(step.expired) == {
            i for i in self.waiting if i.deadline is not None and i.deadline <= self.clock.now
        }
        self.settle(step.expired)
        ready, works = self.ready(), [i for i in self.waiting if i.facts is not None]
        if step.kind == "wait":
            assert not works
            assert (step.seconds is None) == (not ready)
            assert step.seconds is None or 0 < step.seconds <= SMALL.wait
            return
        if step.kind == "work":
            assert step.items == (works[0],), "works keep their order"
            if ready:
                self.works_since_batch.append(works[0].cost)
                costs = self.works_since_batch
                assert len(costs) == 1 or sum(costs) <= SMALL.facts
        else:
            self.check_batch(step.items, ready)
            self.works_since_batch.clear()
        self.running = step.items
        for item in step.items:
            del self.waiting[item]

    def check_batch(self, items: tuple[Item[int], ...], ready: list[Item[int]]) -> None:
        (bucket,) = {item.bucket for item in items}
        alike = [i for i in ready if i.bucket == bucket]
        assert list(items) == alike[: SMALL.batch], "all that fit, in the order they came"
        if items[0] is not ready[0]:
            assert len(items) == SMALL.batch, "only a full batch goes before an older question"
            assert ready[0].ready + SMALL.wait > self.clock.now or self.ended_lately()

    def ended_lately(self) -> bool:
        return self.batcher._ended + SMALL.wait > self.clock.now

    @precondition(lambda self: self.running)
    @rule(seconds=st.floats(0.01, 3))
    def the_step_ends(self, seconds: float) -> None:
        self.clock.now += seconds
        self.batcher.done()
        self.settled += self.running
        self.running = ()

    def settle(self, items: Any) -> None:
        for item in items:
            del self.waiting[item]
            self.settled.append(item)

    @invariant()
    def nothing_is_lost_and_nothing_done_twice(self) -> None:
        everything = [*self.waiting, *self.running, *self.settled]
        assert len(everything) == len(set(everything)) == self.taken
        questions = sum(i.facts is None for i in self.waiting)
        assert self.batcher.queued == questions <= SMALL.queue
        assert self.batcher.works == len(self.waiting) - questions <= SMALL.works
        assert tuple(self.batcher.running) == self.running
        assert all(1 <= seconds <= 60 for seconds in self.refused)

    def teardown(self) -> None:
        """What is left comes to its end, once it is open and nobody adds to it."""
        for item in self.waiting:
            if item.facts is None and item.bucket is None:
                self.batcher.make_ready(item, "a")
        if self.running:
            self.the_step_ends(0.01)
        steps = 2 * len(self.waiting) + 1
        for _ in range(steps):
            self.the_next_step_is_taken()
            if self.running:
                self.the_step_ends(0.01)
            self.clock.now += SMALL.wait
        assert self.batcher.is_empty
        assert len(self.settled) == self.taken


AnyOrder.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True
)
TestAnyOrder = AnyOrder.TestCase
