"""An editor without a model, on a store as it is in earnest."""

from __future__ import annotations

import io
import secrets
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from PIL import Image

from balancedit.errors import InputError
from balancedit.on_terms import check
from balancedit.store import EditStore, Terms
from balancedit.types import Answer, Edit, Explanation, KnownEdit, Neighbour
from store_cases import make_edit, make_key, make_tensors


@dataclass
class FakeEditor:
    """Keeps what it is taught without learning it. A question that is taught twice with the same
    answer is known; with another, the first edit is replaced. `meanwhile` is called once while the
    next edit is learned; `facts` has what was given."""

    store: EditStore
    facts: list[dict[str, Any]] = field(default_factory=list)
    meanwhile: Any = None
    picture: bytes | None = None
    refreshed: int = 0

    @property
    def version(self) -> int:
        return self.store.seen_version

    def refresh(self) -> None:
        self.refreshed += 1
        self.store.active()

    def get(self, edit_id: str) -> Edit:
        edit_id = self.store.resolve(edit_id)
        return self.store.records([edit_id])[edit_id]

    def edit(self, image: Any, question: str, answer: str, *, terms: Terms, **how: Any) -> Edit:
        self.refresh()
        if answer == "impossible":
            raise InputError("the answer cannot be given")
        check(self.store, terms)
        self.facts.append({"image": image, "question": question, "answer": answer, **how})
        active = self.store.records(self.store.active()).values()
        same = [e for e in active if e.question == question]
        for old in same:
            if old.target == answer:
                if terms.audit or terms.request:
                    self.store.note("known", terms, old.id)
                return KnownEdit(**{f.name: getattr(old, f.name) for f in fields(Edit)})
        if self.meanwhile is not None:
            self.meanwhile, other = None, self.meanwhile
            other()
        number = secrets.randbelow(2**31)
        edit = make_edit(
            number, question=question, target=answer, retires=tuple(e.id for e in same)
        )
        picture = self.picture if self.picture is not None else thumbnail()
        return self.store.commit(edit, make_key(number), make_tensors(number), picture, terms)

    def commit(self, preview: Any, radius: float | None = None, *, terms: Terms) -> Edit:
        check(self.store, terms)
        edit = preview.edit if radius is None else replace(preview.edit, radius=radius)
        number = int(edit.id, 16)
        return self.store.commit(edit, make_key(number), make_tensors(number), None, terms)

    def undo(self, edit_id: str, *, terms: Terms) -> list[Edit]:
        self.refresh()
        return self.store.revert(self.store.resolve(edit_id), terms)

    def explain(self, image: Any, question: str, *, nearest: int) -> Explanation:
        self.refresh()
        near = [self.get(i) for i in self.store.active()][:nearest]
        neighbours = tuple(Neighbour(e, 0.5, float("inf"), True) for e in near)
        fired = near[0].id if near else None
        answer = Answer("an owl", fired, fired, 0.5, float("nan"))
        return Explanation(question, answer, "a bird", neighbours, "it lies inside its radius")


def thumbnail(kind: str = "PNG") -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (4, 4), "blue").save(out, kind)
    return out.getvalue()


def grown(store: EditStore, number: int) -> None:
    """Somebody else's edit."""
    edit = make_edit(number, question=f"another question {number}?")
    store.commit(edit, make_key(number), {"weight": torch.zeros(1)}, None)
