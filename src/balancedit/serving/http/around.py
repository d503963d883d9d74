"""What is around every request: its id, its line in the log, its figures, headers that keep
browsers strict, and a reply for whatever was raised."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from balancedit.serving.http import logs
from balancedit.serving.http.errors import ApiError, as_api_error
from balancedit.serving.http.metrics import Metrics

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: The page's scripts and styles are files of its own; nothing else runs, frames it or is fetched.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Around:
    """The outermost part of the application. https: a proxy in front of it ends TLS."""

    def __init__(self, app: ASGIApp, metrics: Metrics, https: bool) -> None:
        self._app, self._metrics, self._https = app, metrics, https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["id"] = request_id(Headers(scope=scope).get("x-request-id"))
        state["log"] = {}
        began, status, started = time.monotonic(), 500, False

        async def sending(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                self._mark(MutableHeaders(scope=message), scope)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            shown = as_api_error(error)
            logs.failure(error, shown.status_code, state["id"])
            if not started:
                status = shown.status_code
                await as_response(shown)(scope, receive, sending)
        finally:
            self._finish(scope, status, time.monotonic() - began)

    def _mark(self, headers: MutableHeaders, scope: Scope) -> None:
        headers["X-Request-Id"] = scope["state"]["id"]
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)
        if scope["path"].startswith("/v1/"):
            headers.setdefault("Cache-Control", "no-store")
        if self._https:
            headers["Strict-Transport-Security"] = "max-age=31536000"

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        """The line in the log, and the figures. What it asked about is in neither."""
        state = scope["state"]
        route = scope.get("route")
        kind = getattr(route, "name", None) or "none"
        caller = state.get("caller")
        line: dict[str, Any] = {
            "id": state["id"],
            "method": scope["method"] if route is not None else None,
            "path": getattr(route, "path", None),
            "status": status,
            "seconds": round(seconds, 4),
            "key": getattr(caller, "key_id", None),
            "tenant": getattr(caller, "tenant", None),
        }
        self._metrics.finished(kind, status, seconds)
        if kind not in ("live", "ready", "figures"):  # asked for every few seconds by machines
            logs.event("request", **line, **state["log"])


def as_response(error: ApiError) -> JSONResponse:
    """The reply that an error makes."""
    return JSONResponse(error.body, error.status_code, error.headers)


def request_id(given: str | None) -> str:
    """The caller's own, where it is a plain one; else a new one."""
    return given if given and _ID.fullmatch(given) else secrets.token_hex(8)
