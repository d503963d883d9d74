"""Figures for Prometheus: of requests, of the engine's turns, and of what it is at when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from balancedit.errors import StoreError

if TYPE_CHECKING:
    from balancedit.serving.engine.protocol import Engine, Turn

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
#: Edits that are counted by their ids; those that fire later are counted together.
MOST_EDITS = 200
OTHERS = "other"


class Metrics:
    """All figures of one server. Any thread may count."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "balancedit_requests",
            "Requests by endpoint and status.",
            ("endpoint", "status"),
            registry=self.registry,
        )
        self._latency = self._histogram(
            "request_seconds", "Seconds until a request was done with.", _SECONDS, "endpoint"
        )
        self._sizes = self._histogram(
            "batch_size",
            "Questions of a batch, or facts of a piece of work.",
            (1, 2, 4, 8, 16),
            "kind",
        )
        self._turns = self._histogram(
            "turn_seconds", "Seconds of a batch or a piece of work.", _SECONDS, "kind"
        )
        self._waits = self._histogram(
            "queued_seconds", "Seconds that the first of a turn had waited.", _SECONDS, "kind"
        )
        self._fired = Counter(
            "balancedit_fired", "Answers that an edit gave.", ("edit",), registry=self.registry
        )
        self._untouched = Counter(
            "balancedit_untouched", "Answers that no edit gave.", registry=self.registry
        )
        self._failed = Counter(
            "balancedit_failed", "Answers and works that failed.", ("kind",), registry=self.registry
        )
        self._known: set[str] = set()
        self._lock = Lock()

    def _histogram(self, name: str, says: str, bounds: Iterable[float], label: str) -> Histogram:
        return Histogram(
            f"balancedit_{name}", says, (label,), buckets=tuple(bounds), registry=self.registry
        )

    def finished(self, endpoint: str, status: int, seconds: float) -> None:
        """A request was done with."""
        self._requests.labels(endpoint, str(status)).inc()
        self._latency.labels(endpoint).observe(seconds)

    def turn(self, turn: Turn) -> None:
        """The engine did something (`engine.protocol.Watcher`)."""
        self._sizes.labels(turn.kind).observe(turn.size)
        self._turns.labels(turn.kind).observe(turn.seconds)
        self._waits.labels(turn.kind).observe(turn.waited)
        self._failed.labels(turn.kind).inc(turn.failed)
        if turn.kind == "answers":
            for edit in turn.fired:
                self._fired.labels(self._name(edit)).inc()
            self._untouched.inc(max(0, turn.size - turn.failed - len(turn.fired)))

    def _name(self, edit: str) -> str:
        """What an edit is counted as: its id, as long as there are few."""
        with self._lock:
            if edit not in self._known and len(self._known) >= MOST_EDITS:
                return OTHERS
            self._known.add(edit)
            return edit

    def watch(self, engine: Engine, stored: Callable[[], Mapping[str, int]] | None = None) -> None:
        """Show what an engine is at whenever the figures are read. stored: versions that the
        tenants' stores are at, cheap to ask for."""
        self.registry.register(_EngineFigures(engine, stored))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _EngineFigures(Collector):
    def __init__(self, engine: Engine, stored: Callable[[], Mapping[str, int]] | None) -> None:
        self._engine, self._stored = engine, stored

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand; so the engine is not asked while it is being registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """What it is at just now."""
        state = self._engine.state
        for name, says, value in (
            ("queued", "Questions that wait.", state.queued),
            ("works_queued", "Edits and other pieces of work that wait.", state.works),
            ("running", "Questions in the model.", state.running),
            ("draining", "1 while nothing new is taken on.", state.draining),
            ("alive", "1 while the thread that answers runs.", state.alive),
        ):
            yield GaugeMetricFamily(f"balancedit_{name}", says, value=float(value))
        yield _by_tenant("edits_held", "Edits in force.", state.held)
        yield _by_tenant("edits_version", "Version of the edits in force.", state.versions)
        with suppress(StoreError):  # its figure is missing then, and the others are not
            stored = self._stored() if self._stored is not None else {}
            behind = {
                tenant: max(0, version - state.versions.get(tenant, 0))
                for tenant, version in stored.items()
            }
            yield _by_tenant("edits_version_lag", "Versions that the store is ahead.", behind)


def _by_tenant(name: str, says: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"balancedit_{name}", says, labels=("tenant",))
    for tenant, value in values.items():
        family.add_metric((tenant,), value)
    return family
