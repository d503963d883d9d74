"""What the routers need, and who is calling.

`Services` stands at ``app.state.services``. A router takes it, and the caller with the scope that
is needed, as parameters::

    @router.get("/v1/edits")
    async def listed(here: Here, caller: MayAsk) -> dict[str, Any]: ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from balancedit.serving.engine.protocol import DEFAULT_TENANT
from balancedit.serving.http.errors import ApiError, no_key
from balancedit.serving.http.held_previews import HeldPreviews
from balancedit.serving.http.keys import Caller, KeyRing, Scope
from balancedit.serving.http.metrics import Metrics
from balancedit.serving.http.pictures import PictureReader
from balancedit.serving.http.sessions import Sessions
from balancedit.serving.http.settings import ServeSettings
from balancedit.serving.tenants import Tenants

if TYPE_CHECKING:
    from balancedit.serving.engine.protocol import Engine
    from balancedit.serving.querylog import QueryLog


@dataclass(frozen=True)
class Services:
    """The parts of one running server. Raises `InputError`.

    model: the name that the model is served under; tenants: whose edits are held, the first of
    them where no other is named. stored: the versions that the tenants' stores are at, cheap to ask
    for. queries: the query log, None where nothing is logged; previews: those that wait.
    """

    engine: Engine
    keys: KeyRing
    settings: ServeSettings = field(default_factory=ServeSettings)
    model: str = "pocket"
    tenants: tuple[str, ...] = (DEFAULT_TENANT,)
    metrics: Metrics = field(default_factory=Metrics)
    stored: Callable[[], Mapping[str, int]] | None = None
    audit: Any = None
    queries: QueryLog | None = None
    previews: HeldPreviews = field(default_factory=HeldPreviews)

    def __post_init__(self) -> None:
        Tenants(self.tenants)

    @cached_property
    def sessions(self) -> Sessions:
        """The page's."""
        return Sessions(self.settings.session_seconds)

    @cached_property
    def pictures(self) -> PictureReader:
        """Opens what callers show."""
        return PictureReader(self.settings)


def services(request: Request) -> Services:
    """The parts of the server that got this request."""
    found: Services = request.app.state.services
    return found


_bearer = HTTPBearer(auto_error=False, description="A key of this server, bk_…")


def caller(scope: Scope) -> Any:
    """A dependency: the `Caller`, who must have `scope`; 401 without a key, 403 without the
    scope."""

    async def who(
        request: Request,
        shown: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],  # the schema's
    ) -> Caller:
        found: Caller | None = request.scope.get("state", {}).get("caller")  # by `access.Access`
        if found is None:
            raise no_key()
        if scope not in found.scopes:
            raise ApiError(
                403,
                f"this key is for '{found.scope}', and this needs '{scope}'; use another key",
                code="missing_scope",
            )
        return found

    return Depends(who)


def note(request: Request, **fields: Any) -> None:
    """Put plain figures and ids of a request into its line in the log; nothing that was asked."""
    request.scope["state"]["log"] |= fields


Here = Annotated[Services, Depends(services)]
MayAsk = Annotated[Caller, caller("ask")]
MayEdit = Annotated[Caller, caller("edit")]
MayAdmin = Annotated[Caller, caller("admin")]
