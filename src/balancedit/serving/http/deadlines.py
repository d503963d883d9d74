"""By when a caller wants an answer."""

from __future__ import annotations

import math
import time

from starlette.requests import Request

from balancedit.serving.http.errors import ApiError

HEADER = "Balancedit-Deadline"
_LONGEST = 3600.0  # seconds


def deadline(request: Request, usual: float) -> float:
    """The moment, on `time.monotonic`'s clock, by which a request is to be done: so many seconds
    from now as its header says, at most an hour, or `usual`. Raises `ApiError`."""
    said = request.headers.get(HEADER)
    try:
        seconds = usual if said is None else float(said)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST:
        raise ApiError(
            400,
            f"{HEADER} is a number of seconds, above 0 and at most {_LONGEST:.0f}",
            code="invalid_value",
            param=HEADER,
        )
    return time.monotonic() + seconds
