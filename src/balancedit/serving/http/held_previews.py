"""Previews between being made and being committed: in memory, for a while, and not many."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from balancedit.preview.preview import Preview

LIFETIME = 900.0  # seconds
OF_A_TENANT = 8  # the oldest gives way
AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class HeldPreview:
    """A preview that waits. most: changes that are shown of it; until: on the clock, when it
    expires; expires: the same, UTC, ISO 8601."""

    id: str
    tenant: str
    preview: Preview
    most: int
    until: float
    expires: str


class HeldPreviews:
    """The previews of all tenants. clock: seconds, as `time.monotonic`."""

    def __init__(
        self, lifetime: float = LIFETIME, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lifetime, self._clock = lifetime, clock
        self._held: OrderedDict[str, HeldPreview] = OrderedDict()  # oldest first
        self._lock = threading.Lock()

    def add(self, tenant: str, preview: Preview, most: int) -> HeldPreview:
        """Keep a preview under an id that nobody guesses."""
        expires = datetime.fromtimestamp(time.time() + self._lifetime, UTC)
        held = HeldPreview(
            f"pv_{secrets.token_urlsafe(18)}",
            tenant,
            preview,
            most,
            self._clock() + self._lifetime,
            expires.isoformat(timespec="seconds"),
        )
        with self._lock:
            self._sweep()
            own = [one.id for one in self._held.values() if one.tenant == tenant]
            for gone in own[: max(0, len(own) + 1 - OF_A_TENANT)]:
                del self._held[gone]
            while len(self._held) >= AT_ONCE:
                self._held.popitem(last=False)
            self._held[held.id] = held
        return held

    def held(self, preview_id: str, tenant: str) -> HeldPreview | None:
        """A tenant's preview; None where there is none, or it has expired."""
        with self._lock:
            self._sweep()
            found = self._held.get(preview_id)
        return found if found is not None and found.tenant == tenant else None

    def find(self, preview_id: str, tenant: str) -> Preview | None:
        """The same, to be committed."""
        found = self.held(preview_id, tenant)
        return found.preview if found is not None else None

    def forget(self, tenant: str) -> None:
        """Drop all of a tenant's, and the questions in them."""
        with self._lock:
            for gone in [one.id for one in self._held.values() if one.tenant == tenant]:
                del self._held[gone]

    def __len__(self) -> int:
        with self._lock:
            self._sweep()
            return len(self._held)

    def _sweep(self) -> None:
        now = self._clock()
        for gone in [one.id for one in self._held.values() if one.until <= now]:
            del self._held[gone]
