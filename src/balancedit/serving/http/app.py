"""The application: the routers, and around them what every request goes through."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from balancedit.serving.http.errors import ApiError, as_api_error
from balancedit.serving.http.services import Services
from balancedit.version import __version__

#: Modules of this package with a `router`, in the order in which paths are looked for.
ROUTERS = (
    *("chat", "models", "session", "health", "metrics"),
    *("preview", "edits", "audit", "queries", "page"),
)


def create_app(services: Services) -> FastAPI:
    """The application of one server."""
    app = FastAPI(title="balancedit", version=__version__, docs_url=None, redoc_url=None)
    app.state.services = services
    for name in ROUTERS:
        module = f"{__package__}.{name}"
        if find_spec(module) is not None:  # until each of them is there
            app.include_router(import_module(module).router)
    app.add_exception_handler(HTTPException, _failed)
    app.add_exception_handler(RequestValidationError, _failed)
    app.add_exception_handler(Exception, _failed)
    return app


async def _failed(request: Request, error: Exception) -> JSONResponse:
    shown = as_api_error(error)
    return JSONResponse(shown.body, shown.status_code, shown.headers)


__all__ = ["ApiError", "create_app"]
