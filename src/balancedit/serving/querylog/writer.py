"""The thread that writes the query log, in batches, so that nobody who answers waits for a disk."""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from balancedit.inputs.pictures import each
from balancedit.serving.querylog import database, rows
from balancedit.serving.querylog.records import LogState, Noted, QueryLogError, Retention

_HELD = 256  # questions that may wait to be written
_PIXELS = 50_000_000  # of their pictures together
_TOGETHER = 64
_WAIT = 0.5  # seconds that a question waits for others
_EXPIRE_EVERY = 60.0  # seconds, or
_EXPIRE_ROWS = 500  # questions written

_log = logging.getLogger("balancedit.querylog")


class Writer:
    """Writes what is noted. A write that fails loses its questions and says so once; the next is
    tried again.

    small: makes the small copy of what was shown. clock: gives the time of a question, in seconds
    since 1970.
    """

    def __init__(
        self, path: Path, retention: Retention, clock: Callable[[], float] = time.time
    ) -> None:
        self._path, self._retention, self._clock = path, retention, clock
        self._queue: queue.Queue[tuple[float, Noted] | threading.Event | None] = queue.Queue()
        self._waiting, self._pixels = 0, 0
        self._state = LogState()
        self._changing = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._since = (0.0, 0)  # when old questions were last deleted, and how many came since
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="balancedit-querylog", daemon=True)
        self._thread.start()

    @property
    def state(self) -> LogState:
        """How it goes."""
        return self._state

    def put(self, noted: Noted) -> None:
        """Have a question written soon; it is dropped where too many wait. Neither raises nor
        waits."""
        pixels = _pixels(noted)
        with self._changing:
            room = self._waiting < _HELD and (not self._pixels or self._pixels + pixels <= _PIXELS)
            if self._closed or not room:
                self._state = replace(self._state, dropped=self._state.dropped + 1)
                return
            self._waiting += 1
            self._pixels += pixels
        self._queue.put((self._clock(), noted))

    def flush(self, timeout: float = 5.0) -> None:
        """Wait until what was noted before is written, or lost."""
        done = threading.Event()
        self._queue.put(done)
        if not self._closed:
            done.wait(timeout)

    def close(self) -> None:
        """Write what waits, and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    # -- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        ended = False
        while not ended:
            batch, waiting, ended = self._taken()
            if batch:
                self._attempt(batch)
            for done in waiting:
                done.set()
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.close()

    def _taken(self) -> tuple[list[tuple[float, Noted]], list[threading.Event], bool]:
        """What is to be written next, who waits for it, and whether it is the last."""
        batch: list[tuple[float, Noted]] = []
        until: float | None = None
        while len(batch) < _TOGETHER:
            try:
                left = None if until is None else max(0.0, until - time.monotonic())
                found = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if found is None:
                return batch, [], True
            if isinstance(found, threading.Event):
                return batch, [found], False
            batch.append(found)
            until = until if until is not None else time.monotonic() + _WAIT
        return batch, [], False

    def _attempt(self, batch: list[tuple[float, Noted]]) -> None:
        try:
            with database.explained(self._path, "write to it"):
                self._write(batch)
        except QueryLogError as error:
            self._failed(len(batch), str(error))
        except Exception as error:  # a picture, say, that no small copy can be made of
            self._failed(len(batch), f"query log '{self._path}': {type(error).__name__}")
        else:
            with self._changing:
                written = self._state.written + len(batch)
                self._state = replace(self._state, written=written, failing=None)
        finally:
            with self._changing:
                self._waiting -= len(batch)
                self._pixels -= sum(_pixels(one) for _, one in batch)

    def _write(self, batch: list[tuple[float, Noted]]) -> None:
        ready = [(at, one, _small(one)) for at, one in batch]
        try:
            if self._db is None:
                self._db = database.connect(self._path)
            rows.write(self._db, ready)
            self._expire(len(ready))
        except BaseException:
            if self._db is not None:  # opened anew next time: the file may be another by then
                with suppress(sqlite3.Error):
                    self._db.close()
                self._db = None
            raise

    def _expire(self, written: int) -> None:
        assert self._db is not None
        last, since = self._since
        since += written
        now = time.monotonic()
        if not last or now - last >= _EXPIRE_EVERY or since >= _EXPIRE_ROWS:
            rows.expire(self._db, self._retention.days, self._retention.rows, self._clock())
            last, since = now, 0
        self._since = last, since

    def _failed(self, lost: int, why: str) -> None:
        if self._state.failing != why:
            _log.warning("%s; answers go on without it", why)
        with self._changing:
            self._state = replace(self._state, dropped=self._state.dropped + lost, failing=why)


def _pixels(noted: Noted) -> int:
    return sum(image.width * image.height for image in each(noted.picture))


def _small(noted: Noted) -> bytes | None:
    """The small copy of what was shown; none where none can be made."""
    try:
        return rows.small(noted.picture)
    except (OSError, ValueError):
        return None
