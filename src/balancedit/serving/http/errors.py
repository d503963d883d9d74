"""Every failure as OpenAI's clients read one: ``{"error": {"message", "type", "param", "code"}}``.

A router raises `ApiError`, or lets one of `balancedit.errors` pass, which `as_api_error` turns into
one. No message holds anything that a caller sent but what such an error itself names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from balancedit import errors
from balancedit.serving.engine import protocol
from balancedit.serving.tenants import UnknownTenantError

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_FORMS = ("fact", "preview")  # of an edit's body
#: The `type` of an error by its status, where nothing else is said.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    499: "cancelled",
}
#: Which status and code an error of ours has: the first line that fits.
_OURS: tuple[tuple[type[errors.BalanceditError], int, str], ...] = (
    (UnknownTenantError, 404, "unknown_tenant"),
    (errors.ImageError, 400, "invalid_image"),
    (errors.InputError, 400, "invalid_value"),
    (errors.EditNotFoundError, 404, "edit_not_found"),
    (errors.EditFailedError, 422, "edit_failed"),
    (errors.EditConflictError, 412, "edit_conflict"),
    (errors.RequestReusedError, 422, "idempotency_key_reused"),
)


class ApiError(HTTPException):
    """A failure with its status. param: the parameter that it is about, None where there is none;
    code: a short name that programs compare; headers: of the reply."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.message, self.code, self.param = message, code, param

    @property
    def body(self) -> dict[str, Any]:
        """The reply's JSON."""
        return error_body(self.status_code, self.message, self.code, self.param)


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """The JSON of a failure."""
    usual = "invalid_request_error" if status < 500 else "server_error"
    kind = _TYPES.get(status, usual)
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def no_key() -> ApiError:
    """There is no key."""
    return ApiError(
        401,
        "no key was given; send it as 'Authorization: Bearer bk_…'",
        code="missing_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def wrong_key() -> ApiError:
    """There is one, and it is not known (any more)."""
    return ApiError(
        401,
        "the key is not known here; check it, or make one with `balancedit serve keys add`",
        code="invalid_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def as_api_error(error: BaseException) -> ApiError:
    """What to tell the caller of any failure; one that is not ours says nothing of itself."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _by_status(error)
    if isinstance(error, protocol.EngineError):
        return _of_engine(error)
    for kind, status, code in _OURS:
        if isinstance(error, kind):
            return ApiError(status, str(error), code=code)
    if isinstance(error, errors.StoreError):  # it may name the server's own files
        return ApiError(
            503,
            "the edits cannot be read or written just now; ask again in a moment",
            code="store_unavailable",
            headers={"Retry-After": "1"},
        )
    return ApiError(
        500,
        "the server failed at this; its log says more under the request id in X-Request-Id",
        code="internal_error",
    )


def _of_engine(error: protocol.EngineError) -> ApiError:
    """An answer that was not given, for a reason that lies with the engine."""
    if isinstance(error, protocol.Overloaded):
        wait = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
        return ApiError(429, str(error), code="overloaded", headers=wait)
    if isinstance(error, protocol.DeadlinePassed):
        return ApiError(504, str(error), code="deadline")
    if isinstance(error, protocol.Draining):
        return ApiError(503, str(error), code="draining", headers={"Retry-After": "5"})
    if isinstance(error, protocol.Stopped):
        return ApiError(503, str(error), code="stopped")
    return ApiError(500, str(error), code="internal_error")


def _by_status(error: HTTPException) -> ApiError:
    """What the framework refuses by itself: a path or a method that there is none of, mostly."""
    said = {
        404: ("there is nothing at this path; see /openapi.json", "not_found"),
        405: ("this path does not take that method; see /openapi.json", "method_not_allowed"),
    }
    message, code = said.get(error.status_code, (str(error.detail), "http_error"))
    return ApiError(error.status_code, message, code=code, headers=error.headers)


def _invalid(error: RequestValidationError) -> ApiError:
    """What is wrong with a request's parameters; of several the one that lies deepest, which of a
    value that may have several forms is the form that was meant. Says nothing of the value."""
    worst = max(error.errors(), key=lambda found: len(found["loc"]))
    if worst["type"] == "json_invalid":
        return ApiError(
            400, "the body is no JSON; check its commas and quotes", code="invalid_json"
        )
    param = _path(worst["loc"])
    message = str(worst["msg"]).removeprefix("Value error, ")
    if worst["type"] == "union_tag_invalid":  # pydantic's own repeats what was sent
        message = f"this is none of {worst['ctx']['expected_tags']}"
    shown = f"{param}: {message}" if param else message
    return ApiError(400, shown[:500], code=str(worst["type"]), param=param)


def _path(place: Sequence[str | int]) -> str | None:
    """A parameter's place as OpenAI writes it, ``messages.0.content``, without the framework's
    names for the forms a value may have."""
    parts: list[str] = []
    for part in map(str, place[1:]):
        if (
            _NAME.fullmatch(part)
            and part not in ("str", "int", "float", "bool", "none", *_FORMS)
            and part not in parts[-1:]
        ):
            parts.append(part)
    return ".".join(parts)[:200] or None


class _Said(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class Failure(BaseModel):
    """The shape of every failure, for the schema."""

    error: _Said


#: For the schema: what any endpoint may answer with.
FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Failure, "description": "The request cannot be done as it is."},
    "5XX": {"model": Failure, "description": "The server cannot do it now."},
}
