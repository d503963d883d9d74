"""The application: the routers, and around them what every request goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from balancedit.serving.http import (
    audit,
    chat,
    edits,
    explain,
    health,
    login,
    models,
    page,
    preview,
    queries,
)
from balancedit.serving.http.access import Access
from balancedit.serving.http.around import Around, as_response
from balancedit.serving.http.bodies import BoundedBodies
from balancedit.serving.http.errors import FAILURES, as_api_error
from balancedit.serving.http.services import Services
from balancedit.version import __version__

#: In the order in which paths are looked for: a preview's before those of an edit of any name.
ROUTERS = (chat, models, login, health, preview, edits, explain, audit, queries, page)


def create_app(services: Services) -> FastAPI:
    """The application of one server."""
    app = FastAPI(
        title="balancedit",
        version=__version__,
        summary="An edited vision-language model, and its edits.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=FAILURES,
        lifespan=_lifespan,
    )
    app.state.services = services
    for part in ROUTERS:
        app.include_router(part.router)
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _failed)
    # The last one that is added stands outermost.
    app.add_middleware(BoundedBodies, settings=services.settings)
    app.add_middleware(Access, services=services)
    app.add_middleware(Around, metrics=services.metrics, https=services.settings.https)
    services.metrics.watch(services.engine, services.stored)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.services.engine.drain()


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return as_response(as_api_error(error))
