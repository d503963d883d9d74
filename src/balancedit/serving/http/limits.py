"""How often one key may ask: a bucket of tokens each, filled at a steady rate."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST = 10_000  # buckets at once; the one that was longest not asked for goes


class TokenBuckets:
    """A bucket of `burst` tokens a name, which gain `rate` a second; clock: in seconds."""

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, max(burst, 1.0), clock
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when

    def take(self, name: str) -> float:
        """Take a token; 0.0 where there was one, else the seconds until there is."""
        now = self._clock()
        tokens, since = self._held.get(name, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._held[name] = (tokens - 1 if not wait else tokens, now)
        self._held.move_to_end(name)
        if len(self._held) > _MOST:
            self._held.popitem(last=False)
        return wait
