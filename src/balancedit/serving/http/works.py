"""Work on a tenant's editor for one request: on the inference thread, between batches, so that
nothing is read half-changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from starlette.requests import Request

from balancedit.serving.http.cancelling import unless_gone
from balancedit.serving.http.deadlines import deadline
from balancedit.serving.http.keys import Caller
from balancedit.serving.http.services import Services

if TYPE_CHECKING:
    from balancedit.editor import Editor

T = TypeVar("T")


async def done(
    request: Request, here: Services, caller: Caller, work: Callable[[Editor], T], facts: int = 0
) -> T:
    """What `work` gives of the editor of the caller's tenant. facts: how many it teaches. While it
    waits it is dropped where the caller leaves. Raises what the engine does, and the work."""
    by = deadline(request, here.settings.edit_deadline)
    return await unless_gone(
        request, here.engine.run(caller.tenant, work, facts=facts, deadline=by)
    )
