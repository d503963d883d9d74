"""A served model, as the command line asks it, edits it and looks at its edits."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from balancedit.serving.client import records
from balancedit.serving.client.connection import Connection, Json, Reply
from balancedit.serving.client.failures import unreadable
from balancedit.types import Answer, Edit

T = TypeVar("T")

_PAGE = 200  # edits asked for at once, the most that a server gives


@dataclass(frozen=True)
class Held:
    """A server's edits, oldest first, with the version that they were at least at."""

    edits: list[Edit]
    version: int


class Reverted(NamedTuple):
    """An edit that was taken back, and the others whose state is another now."""

    edit: Edit
    others: list[Edit]


@dataclass(frozen=True)
class Why:
    """An explanation; see `types.Explanation`. shape: the same as the server's JSON."""

    answer: Answer
    base_text: str
    neighbours: tuple[records.SeenNeighbour, ...]
    reason: str
    shape: Json


class Client:
    """One server's model and edits. Pictures are data URLs. Every call raises `ServerError`, or
    what the library itself raises where the server says that it is that."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def address(self) -> str:
        """Where the server is."""
        return self._connection.address

    def model(self) -> str:
        """The name of the model with its edits."""
        reply = self._connection.get("/v1/models")
        return self._read(reply, lambda body: str(body["data"][0]["id"]))

    def ask(
        self, pictures: Sequence[str], question: str, max_new_tokens: int | None = None
    ) -> Answer:
        """As `Editor.ask` with one question."""
        parts: list[Json] = [{"type": "image_url", "image_url": {"url": p}} for p in pictures]
        content = [*parts, {"type": "text", "text": question}] if parts else question
        body: Json = {"model": self.model(), "messages": [{"role": "user", "content": content}]}
        if max_new_tokens is not None:
            body["max_completion_tokens"] = max_new_tokens
        return self._read(
            self._connection.post("/v1/chat/completions", body),
            lambda said: records.answer(
                str(said["choices"][0]["message"]["content"]), said["balancedit"]
            ),
        )

    def explain(self, pictures: Sequence[str], question: str, nearest: int = 5) -> Why:
        """As `Editor.explain`."""
        body = {**_shown(pictures), "question": question, "nearest": nearest}
        return self._read(
            self._connection.post("/v1/explain", body), lambda said: _why(said["explanation"])
        )

    def edit(self, fact: Json) -> Edit:
        """Teach a fact, as `fact` makes one; sent again where the connection fails, and carried out
        once."""
        reply = self._connection.post("/v1/edits", fact, secrets.token_hex(16))
        record = records.known_edit if reply.status == 200 else records.edit
        return self._read(reply, lambda body: record(body["edit"]))

    def revert(self, edit_id: str) -> Reverted:
        """As `Editor.revert`; edit_id: or the beginning of it."""
        path = f"/v1/edits/{quote(edit_id, safe='')}/revert"
        reply = self._connection.post(path, {}, secrets.token_hex(16))

        def read(body: Json) -> Reverted:
            edit = records.edit(body["edit"])
            others = [records.edit(one) for one in body["changed"] if one["id"] != edit.id]
            return Reverted(edit, others)

        return self._read(reply, read)

    def edits(self, *, every: bool = False) -> Held:
        """All edits in force, or with those that no longer are, oldest first."""
        found: dict[str, Edit] = {}
        version: int | None = None
        for page in self._pages("all" if every else "active"):
            read = self._read(page, lambda body: [records.edit(one) for one in body["data"]])
            found |= {edit.id: edit for edit in read}
            seen = self._read(page, lambda body: int(body["version"]))
            version = seen if version is None else version  # what came since is newer than it
        return Held([*found.values()][::-1], version or 0)

    def one_edit(self, edit_id: str) -> Edit:
        """One edit by its id, or the beginning of it."""
        reply = self._connection.get(f"/v1/edits/{quote(edit_id, safe='')}")
        return self._read(reply, lambda body: records.edit(body["edit"]))

    def preview(self, fact: Json, most: int, radius: float | None = None) -> records.Previewed:
        """What a fact would change of the questions that the server has logged. most: changes that
        are told; radius: another one than measured."""
        limit = min(max(most, 1), _PAGE)
        made = self._connection.post("/v1/edits/preview", fact | {"limit": limit})
        if radius is not None:
            name = self._read(made, lambda body: quote(str(body["preview_id"]), safe=""))
            path = f"/v1/edits/preview/{name}/radius"
            made = self._connection.post(path, {"radius": radius})
        return self._read(made, records.preview)

    def _pages(self, state: str) -> Iterator[Reply]:
        after: str | None = None
        while True:
            query = {"limit": _PAGE, "state": state} | ({"after": after} if after else {})
            page = self._connection.get(f"/v1/edits?{urlencode(query)}")
            yield page
            if not self._read(page, lambda body: body["has_more"] and body["data"]):
                return
            after = self._read(page, lambda body: str(body["data"][-1]["id"]))

    def _read(self, reply: Reply, what: Callable[[Json], T]) -> T:
        """A part of a reply. Raises `ServerError` where it has another shape."""
        try:
            return what(reply.body)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise unreadable(self.address, reply.status) from error


def fact(
    pictures: Sequence[str],
    question: str,
    answer: str,
    *,
    rephrasings: Sequence[str] = (),
    negative: str | None = None,
    new: bool = False,
) -> Json:
    """A fact as requests hold it. negative: a data URL, or the name of one."""
    body: Json = {**_shown(pictures), "question": question, "answer": answer}
    if rephrasings:
        body["rephrasings"] = list(rephrasings)
    if negative is not None:
        body["negative"] = negative
    return body | ({"new": True} if new else {})


def _shown(pictures: Sequence[str]) -> Json:
    if not pictures:
        return {}
    return {"image": pictures[0]} if len(pictures) == 1 else {"images": list(pictures)}


def _why(shape: Json) -> Why:
    near = tuple(records.neighbour(one) for one in shape["neighbours"])
    told = records.answer(str(shape["text"]), shape)
    return Why(told, str(shape["base_answer"]), near, str(shape["reason"]), shape)
