"""`POST /v1/chat/completions`: OpenAI's, whole or as a stream of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response

from balancedit.serving.engine.protocol import Answered, Ask
from balancedit.serving.http import logs
from balancedit.serving.http.cancelling import stopped, unless_gone
from balancedit.serving.http.chat_reply import DONE, Completion, Reply, event
from balancedit.serving.http.chat_request import IGNORED_HEADER, ChatRequest, check_offered
from balancedit.serving.http.deadlines import deadline
from balancedit.serving.http.errors import as_api_error
from balancedit.serving.http.models import meant
from balancedit.serving.http.services import Here, MayAsk, Services, note
from balancedit.serving.http.stops import Stops
from balancedit.serving.http.streams import EventStream
from balancedit.serving.http.turns import conversation_of

VERSION_HEADER = "Balancedit-Version"

router = APIRouter(tags=["chat"])


@router.post(
    "/v1/chat/completions",
    response_model=Completion,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def chat(
    wanted: ChatRequest, here: Here, caller: MayAsk, request: Request, response: Response
) -> Any:
    """Answer a conversation, with the edits in force or (``NAME@base``) without them."""
    tenant, base = meant(wanted.model, here, caller)
    ignored = check_offered(wanted)
    by = deadline(request, here.settings.deadline)
    headers = {IGNORED_HEADER: ",".join(ignored)} if ignored else {}
    turns = await conversation_of(wanted.messages, here.pictures, here.settings.max_pictures)
    ask = Ask(turns, tenant, base, wanted.longest(here.settings.max_tokens))
    usage = wanted.stream_options is not None and bool(wanted.stream_options.include_usage)
    reply = Reply(wanted.model, usage)
    note(request, base=base, stream=bool(wanted.stream), asked_tenant=tenant)
    if wanted.stream:
        answering = Answering(here, ask, by)
        try:  # an error before the first piece is still a status of its own
            await unless_gone(request, answering.begin())
        except BaseException:
            await answering.close()
            raise
        return EventStream(_events(answering, reply, Stops(wanted.stops), request), headers)
    answered = await unless_gone(request, here.engine.ask(ask, deadline=by))
    _note(request, answered)
    stops = Stops(wanted.stops)
    text = stops.take(answered.answer.text) + stops.rest()
    response.headers.update({VERSION_HEADER: str(answered.version)} | headers)
    return reply.whole(answered, text, stops.found)


class Answering:
    """An answer while it comes."""

    def __init__(self, here: Services, ask: Ask, by: float) -> None:
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._task = asyncio.ensure_future(
            here.engine.ask(ask, deadline=by, on_piece=self._pieces.put_nowait)
        )
        self._task.add_done_callback(lambda _: self._pieces.put_nowait(None))
        self._first: str | None = None

    async def begin(self) -> None:
        """Wait for the first piece, or the end. Raises what the engine does."""
        self._first = await self._pieces.get()
        if self._first is None:
            await self._task

    async def pieces(self) -> AsyncIterator[str]:
        """All pieces, after `begin`."""
        piece = self._first
        while piece is not None:
            yield piece
            piece = await self._pieces.get()

    async def whole(self) -> Answered:
        """The answer, after its pieces. Raises what the engine does."""
        return await self._task

    async def close(self) -> None:
        """Stop it, if it still runs."""
        await stopped(self._task)


async def _events(
    answering: Answering, reply: Reply, stops: Stops, request: Request
) -> AsyncIterator[bytes]:
    try:
        yield reply.first()
        async for piece in answering.pieces():
            text = stops.take(piece)
            if text:
                yield reply.piece(text)
        answered = await answering.whole()
        rest = stops.rest()
        if rest:
            yield reply.piece(rest)
        _note(request, answered)
        for chunk in reply.last(answered, stops.found):
            yield chunk
    except Exception as error:  # the status is sent; the client is told within the stream
        shown = as_api_error(error)
        note(request, failed=shown.code)
        logs.failure(error, shown.status_code, request.scope["state"]["id"])
        yield event(shown.body)
        yield DONE
    finally:
        await answering.close()


def _note(request: Request, answered: Answered) -> None:
    note(
        request,
        version=answered.version,
        fired=answered.answer.fired,
        prompt_tokens=answered.prompt_tokens,
        completion_tokens=answered.completion_tokens,
    )
