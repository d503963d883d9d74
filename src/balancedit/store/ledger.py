"""What a store in memory keeps of its changes; `directory/changes.py` is its like on the disk."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from balancedit.errors import RequestReusedError
from balancedit.store.terms import REQUESTS_KEPT_S, AuditRecord, Done, Request, Terms


class Ledger:
    """How many changes there were, who asked for them, and which requests were carried out."""

    def __init__(self) -> None:
        self.version = 0
        self._audit: list[AuditRecord] = []
        self._requests: dict[tuple[str, str], tuple[float, str, Done]] = {}

    def check(self, terms: Terms) -> None:
        """Raise the error that `Terms` names for what does not hold."""
        terms.check(self.done, lambda: self.version)

    def keep(self, action: str, edit_id: str | None, terms: Terms) -> None:
        """Keep who asked for what, and that a request was carried out."""
        if (said := terms.audit) is not None:
            written = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = (written, said.tenant, said.key, action, edit_id, self.version, said.detail)
            self._audit.append(AuditRecord(len(self._audit) + 1, *line))
        if (asked := terms.request) is not None and edit_id is not None:
            now = time.time()
            kept = self._requests.items()
            self._requests = {i: r for i, r in kept if now - r[0] < REQUESTS_KEPT_S}
            done = Done(edit_id, self.version)
            self._requests[asked.key, asked.name] = (now, asked.body_sha256, done)

    def done(self, request: Request) -> Done | None:
        """See `EditStore.done`."""
        carried_out = self._requests.get((request.key, request.name))
        if carried_out is None or time.time() - carried_out[0] >= REQUESTS_KEPT_S:
            return None
        if carried_out[1] != request.body_sha256:
            raise RequestReusedError(request.name)
        return carried_out[2]

    def audit(self, limit: int, after: int | None) -> list[AuditRecord]:
        """See `EditStore.audit`."""
        end = len(self._audit) if after is None else min(after - 1, len(self._audit))
        return self._audit[max(0, end - limit) : max(0, end)][::-1]
