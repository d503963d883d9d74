"""The page's sessions: a cookie that stands for a key, so that no script ever holds the key."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

COOKIE = "balancedit_session"
CSRF_HEADER = "x-balancedit-csrf"
_MOST = 1_000  # sessions at once; the oldest goes


@dataclass(frozen=True)
class Session:
    """A session: the key it stands for, the value that writes must show, when it ends."""

    key_id: str
    csrf: str
    ends: float


class Sessions:
    """Sessions in memory; they end with the server. Not for several threads."""

    def __init__(self, seconds: float = 12 * 3600, clock: Callable[[], float] = time.time) -> None:
        self.seconds, self._clock = seconds, clock
        self._held: OrderedDict[str, Session] = OrderedDict()

    def start(self, key_id: str) -> tuple[str, Session]:
        """A new session; the cookie's value, of which only a hash is kept."""
        token = secrets.token_urlsafe(32)
        made = Session(key_id, secrets.token_urlsafe(32), self._clock() + self.seconds)
        self._held[_hash(token)] = made
        while len(self._held) > _MOST:
            self._held.popitem(last=False)
        return token, made

    def find(self, token: str) -> Session | None:
        """The session of a cookie's value, None once it is over."""
        name = _hash(token)
        found = self._held.get(name)
        if found is not None and found.ends <= self._clock():
            del self._held[name]
            return None
        return found

    def end(self, token: str) -> None:
        """End a session; nothing where there is none."""
        self._held.pop(_hash(token), None)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
