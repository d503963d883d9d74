"""What a change is bound to: ``If-Match``, the version that the edits must be at, and
``Idempotency-Key``, with which a request that is sent again is not carried out again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import Annotated, Any

from fastapi import Header, Response
from starlette.requests import Request

from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.keys import Caller
from balancedit.store.terms import AuditEntry, Terms
from balancedit.store.terms import Request as Named

VERSION_HEADER = "Balancedit-Version"
REPLAYED_HEADER = "Idempotency-Replayed"
#: An entity tag, as `mark` gives it, or one that a proxy has made weak, or the bare number.
_TAG = re.compile(r'(?:W/)?"(\d{1,15})"|(\d{1,15})')
_NAME = re.compile(r"[\x21-\x7e]{1,200}")
_DETAIL = 400  # characters of what the audit tells besides

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description='The version that the edits must be at, like "7"; 412 where they are not.',
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="A name of this request alone. Sent again with the same body within a day it "
        "gives what it gave, and changes nothing; with another body: 422.",
    ),
]


async def terms_of(
    request: Request,
    caller: Caller,
    if_match: str | None,
    idempotency_key: str | None,
    asked: Any,
    detail: str = "",
) -> Terms:
    """The terms of a change. asked: its body, in plain JSON types; detail: for the audit, beside
    who changed what. Raises `ApiError`."""
    named = None
    if idempotency_key is not None:
        if not _NAME.fullmatch(idempotency_key):
            said = "Idempotency-Key is up to 200 printable characters without spaces"
            raise ApiError(400, said, code="invalid_value", param="Idempotency-Key")
        whole = [request.method, request.url.path, asked]
        body = await asyncio.to_thread(_digest, whole)  # pictures make it long
        named = Named(caller.key_id, idempotency_key, body)
    shown = detail if len(detail) <= _DETAIL else detail[: _DETAIL - 1] + "…"
    return Terms(_expected(if_match), AuditEntry(caller.key_id, caller.tenant, shown), named)


def _expected(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    found = _TAG.fullmatch(if_match.strip())
    if found is None:
        said = 'If-Match is one version, like "7", as ETag and Balancedit-Version name it'
        raise ApiError(400, said, code="invalid_value", param="If-Match")
    return int(found[1] or found[2])


def _digest(asked: Any) -> str:
    """SHA-256 of plain JSON types, whatever the order of their names."""
    text = json.dumps(asked, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def mark(response: Response, version: int) -> None:
    """Name the version that a reply is of."""
    response.headers[VERSION_HEADER] = str(version)
    response.headers["ETag"] = f'"{version}"'
