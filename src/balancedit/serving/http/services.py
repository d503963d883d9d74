"""What the routers need, and who is calling.

`Services` stands at ``app.state.services``. A router takes it, and the caller with the scope that
is needed, as parameters::

    @router.get("/v1/edits")
    async def listed(here: Here, caller: MayAsk) -> dict[str, Any]: ...
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from balancedit.serving.http.errors import ApiError
from balancedit.serving.http.keys import SCOPES, Caller, KeyRing, Scope
from balancedit.serving.http.sessions import Sessions
from balancedit.serving.http.settings import ServeSettings

if TYPE_CHECKING:
    from balancedit.serving.engine.protocol import Engine


@dataclass(frozen=True)
class Services:
    """The parts of one running server.

    model: the name that the model is served under; tenants: whose edits are held, the first of
    them where no other is named. audit, queries and previews belong to the routers of those names.
    """

    engine: Engine
    keys: KeyRing
    settings: ServeSettings = field(default_factory=ServeSettings)
    model: str = "pocket"
    tenants: tuple[str, ...] = ("default",)
    sessions: Sessions = field(default_factory=Sessions)
    audit: Any = None
    queries: Any = None
    previews: Any = None


def services(request: Request) -> Services:
    """The parts of the server that got this request."""
    found: Services = request.app.state.services
    return found


def caller(scope: Scope) -> Any:
    """A dependency: the `Caller`, who must have `scope`. 401 without a key, 403 without the scope
    or for a tenant that the key is not for, 404 for one that is not here."""

    def who(request: Request) -> Caller:
        found: Caller | None = request.scope.get("state", {}).get("caller")
        if found is None:
            raise ApiError(
                401,
                "no key was given; send it as 'Authorization: Bearer bk_…'",
                code="missing_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if scope not in found.scopes:
            raise ApiError(
                403,
                f"this key is for '{found.scope}', and this needs '{scope}'; use another key",
                code="missing_scope",
            )
        return found

    return Depends(who)


Here = Annotated[Services, Depends(services)]
MayAsk = Annotated[Caller, caller("ask")]
MayEdit = Annotated[Caller, caller("edit")]
MayAdmin = Annotated[Caller, caller("admin")]

__all__ = ["SCOPES", "Caller", "Here", "MayAdmin", "MayAsk", "MayEdit", "Services", "caller"]
