"""Every failure as OpenAI's clients read one: ``{"error": {"message", "type", "param", "code"}}``.

A router raises `ApiError`, or lets one of `balancedit.errors` pass, which `as_api_error` turns into
one. No message holds anything that a caller sent but what such an error itself names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException

from balancedit import errors

#: The `type` of an error by its status, where nothing else is said.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    499: "cancelled",
}
#: Which status an error of ours has: the first line that fits. Code, and the parameter it names.
_OURS: tuple[tuple[type[errors.BalanceditError], int, str], ...] = (
    (errors.ImageError, 400, "invalid_image"),
    (errors.InputError, 400, "invalid_value"),
    (errors.EditNotFoundError, 404, "edit_not_found"),
    (errors.EditFailedError, 422, "edit_failed"),
    (errors.StoreError, 503, "store_unavailable"),
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


def as_api_error(error: BaseException) -> ApiError:
    """What to tell the caller of any failure; one that is not ours says nothing of itself."""
    if isinstance(error, ApiError):
        return error
    for kind, status, code in _OURS:
        if isinstance(error, kind):
            return ApiError(status, str(error), code=code)
    return ApiError(
        500,
        "the server failed at this; its log says more under the request id in X-Request-Id",
        code="internal_error",
    )
