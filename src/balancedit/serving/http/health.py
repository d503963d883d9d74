"""Whether the server lives, and whether it can answer, open to all; its figures, for few."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from balancedit.serving.http.services import Here, MayAdmin

router = APIRouter(tags=["operations"])


class Live(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """What the engine is at. version: of the first tenant's edits; queued: questions that wait."""

    status: str
    model: str
    version: int
    queued: int


@router.get("/health/live")
async def live() -> Live:
    """Whether the process answers at all."""
    return Live(status="ok")


@router.get("/health/ready", response_model=Ready, responses={503: {"model": Ready}})
async def ready(here: Here) -> JSONResponse:
    """Whether questions are answered: 503 while the server shuts down, or its engine has ended."""
    state = here.engine.state
    status = "draining" if state.draining else "ok" if state.alive else "stopped"
    version = here.engine.version(here.tenants[0])
    found = Ready(status=status, model=here.model, version=version, queued=state.queued)
    return JSONResponse(found.model_dump(), 200 if status == "ok" else 503)


@router.get("/metrics", response_class=PlainTextResponse)
async def figures(here: Here, caller: MayAdmin) -> PlainTextResponse:
    """The server's figures in Prometheus' text format. They are open on a port of their own, where
    the server was given one."""
    return PlainTextResponse(
        await asyncio.to_thread(here.metrics.text), media_type=CONTENT_TYPE_LATEST
    )
