"""Who may come in: the key or the session of a request, its tenant, its rate, the word against
forged writes. All of it is decided before a byte of the body is read."""

from __future__ import annotations

import hmac
import math

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from balancedit.serving.http.bodies import WRITES
from balancedit.serving.http.errors import ApiError, no_key, wrong_key
from balancedit.serving.http.keys import EVERY_TENANT, Caller, Key
from balancedit.serving.http.limits import TokenBuckets
from balancedit.serving.http.services import Services
from balancedit.serving.http.sessions import COOKIE, CSRF_HEADER
from balancedit.serving.tenants import UnknownTenantError

TENANT_HEADER = "balancedit-tenant"
#: What needs a key; the one path below it that gives sessions, and so looks at keys itself.
_GUARDED, _LOGIN = "/v1/", "/v1/session"
_FIGURES = "/metrics"


class Access:
    """The application behind keys; puts the `Caller` into the request's state."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._services = app, services
        self._buckets = TokenBuckets(services.settings.rate, services.settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            guarded = path.startswith(_GUARDED) and path != _LOGIN
            if guarded or path == _FIGURES:
                found = self._caller(Headers(scope=scope), scope["method"])
                if found is None:
                    raise no_key()
                scope.setdefault("state", {})["caller"] = found
                if guarded:
                    self._count(found)
        await self._app(scope, receive, send)

    def _caller(self, headers: Headers, method: str) -> Caller | None:
        """Who calls, None where neither a key nor a session is shown. Raises `ApiError` for a wrong
        key, a write by a session without its word, and a tenant that is not the key's;
        `UnknownTenantError` where nobody's is."""
        shown = headers.get("authorization")
        if shown is not None:
            kind, _, secret = shown.partition(" ")
            key = self._services.keys.find(secret.strip()) if kind.lower() == "bearer" else None
            if key is None:
                raise wrong_key()
        else:
            key = self._by_cookie(headers, method)
            if key is None:
                return None
        return Caller(key.id, key.scope, self._tenant(key, headers), key.tenant)

    def _by_cookie(self, headers: Headers, method: str) -> Key | None:
        """The key that a session stands for; None where there is none, or it is over."""
        token = cookie_parser(headers.get("cookie", "")).get(COOKIE)
        session = self._services.sessions.find(token) if token else None
        key = self._services.keys.by_id(session.key_id) if session is not None else None
        if session is None or key is None:
            return None
        word = headers.get(CSRF_HEADER, "").encode("latin-1")
        if method in WRITES and not hmac.compare_digest(word, session.csrf.encode()):
            raise ApiError(
                403,
                "a session's writes need the header X-Balancedit-CSRF with the value that "
                "/v1/session gave",
                code="csrf",
            )
        return key

    def _tenant(self, key: Key, headers: Headers) -> str:
        """Whose edits the request is about."""
        wanted = headers.get(TENANT_HEADER)
        usual = self._services.tenants[0] if key.tenant == EVERY_TENANT else key.tenant
        tenant = usual if wanted is None else wanted
        if key.tenant == EVERY_TENANT and tenant not in self._services.tenants:
            raise UnknownTenantError("there is no such tenant here; /v1/session names them")
        if key.tenant not in (EVERY_TENANT, tenant) or tenant not in self._services.tenants:
            raise ApiError(
                403,
                "this key is not for that tenant",
                code="wrong_tenant",
                param="Balancedit-Tenant",
            )
        return tenant

    def _count(self, found: Caller) -> None:
        wait = self._buckets.take(found.key_id)
        if wait:
            raise ApiError(
                429,
                f"this key asks too often; ask again in {math.ceil(wait)} s",
                code="rate_limited",
                headers={"Retry-After": str(math.ceil(wait))},
            )
