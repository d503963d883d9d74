"""The server's log: a JSON object a line on standard error. Nothing that a caller wrote or showed
goes into it: no question, answer, picture or key, and of an exception only where it came from."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from balancedit.errors import KeyFileError, StoreError

LOG = logging.getLogger("balancedit.serve")
_FIELDS = "balancedit_fields"
#: Errors that speak of the server's own files alone.
OF_THE_SERVER = (StoreError, KeyFileError)


class AsJson(logging.Formatter):
    """A record as one line of JSON. The text of other libraries' records is kept, their exceptions
    are reduced to where they were raised."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= getattr(record, _FIELDS, {})
        if record.exc_info and record.exc_info[1] is not None:
            line |= where(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True, default=str)


def start(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Log to `stream` (standard error), uvicorn's own records too."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(AsJson())
    for name, least in (("balancedit", level), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False


def event(name: str, **fields: Any) -> None:
    """Log something that happened."""
    LOG.info(name, extra={_FIELDS: fields})


def failure(error: BaseException, status: int, request: str | None = None) -> None:
    """Log an error, if it lies with the server: its kind and where it was raised. What it says is
    left out, since that may repeat what a caller sent, unless it is about files of the server's."""
    own = isinstance(error, OF_THE_SERVER)
    if status != 500 and not (own and status > 500):
        return
    says = {"message": str(error)} if own else {}
    LOG.error("failure", extra={_FIELDS: {"id": request, **says, **where(error)}})


def where(error: BaseException) -> dict[str, Any]:
    """The kinds of an error and its causes, and the last places it passed."""
    kinds: list[str] = []
    one: BaseException | None = error
    while one is not None and len(kinds) < 5:
        kinds.append(type(one).__qualname__)
        one = one.__cause__
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [
        f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames
    ]
    return {"error": kinds, "places": places}
