"""The page's way in: a key is shown once, and a cookie that no script can read stands for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Cookie, Response
from pydantic import BaseModel, ConfigDict, Field

from balancedit.serving.http.errors import no_key, wrong_key
from balancedit.serving.http.keys import EVERY_TENANT, Key
from balancedit.serving.http.services import Here, Services
from balancedit.serving.http.sessions import COOKIE, Session

router = APIRouter(prefix="/v1/session", tags=["session"])
Token = Annotated[str | None, Cookie(alias=COOKIE, include_in_schema=False)]


class Shown(BaseModel):
    """A key."""

    model_config = ConfigDict(strict=True)
    key: str = Field(max_length=200)


class Begun(BaseModel):
    """A session. csrf: what its writes send as X-Balancedit-CSRF; tenants: those that the header
    Balancedit-Tenant may choose among, the usual one first; ends: UTC, ISO 8601."""

    csrf: str
    scope: str
    tenant: str
    tenants: list[str]
    model: str
    ends: str


@router.post("")
async def begin(shown: Shown, here: Here, response: Response) -> Begun:
    """Begin a session with a key; sets its cookie."""
    key = here.keys.find(shown.key.strip())
    if key is None:
        raise wrong_key()
    token, session = here.sessions.start(key.id)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(here.sessions.seconds),
        path="/",
        secure=here.settings.https,
        httponly=True,
        samesite="strict",
    )
    return _begun(here, key, session)


@router.get("")
async def current(here: Here, token: Token = None) -> Begun:
    """The session of the cookie, for a page that was loaded anew."""
    session = here.sessions.find(token) if token else None
    key = here.keys.by_id(session.key_id) if session is not None else None
    if session is None or key is None:
        raise no_key()
    return _begun(here, key, session)


@router.delete("", status_code=204)
async def end(here: Here, response: Response, token: Token = None) -> None:
    """End the session of the cookie, if there is one."""
    if token:
        here.sessions.end(token)
    response.delete_cookie(
        COOKIE, path="/", secure=here.settings.https, httponly=True, samesite="strict"
    )


def _begun(here: Services, key: Key, session: Session) -> Begun:
    every = key.tenant == EVERY_TENANT
    tenants = list(here.tenants) if every else [key.tenant]
    ends = datetime.fromtimestamp(session.ends, UTC).isoformat(timespec="seconds")
    return Begun(
        csrf=session.csrf,
        scope=key.scope,
        tenant=tenants[0],
        tenants=tenants,
        model=here.model,
        ends=ends,
    )
