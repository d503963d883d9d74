"""One edit on terms: what must hold for it, and what is kept of who asked (`store/terms.py`)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from balancedit.errors import StoreError
from balancedit.holding import Holding
from balancedit.methods import Method
from balancedit.models.loading import LoadedModel
from balancedit.store import EditStore, Terms
from balancedit.teaching import Teacher
from balancedit.types import Edit, Fact, FailedEdit, KnownEdit


class OnTerms:
    """A store whose commits are made on the same terms. key: (D,)."""

    def __init__(self, store: EditStore, terms: Terms) -> None:
        self._store, self._terms = store, terms

    def commit(
        self,
        edit: Edit,
        key: torch.Tensor,
        tensors: Mapping[str, torch.Tensor],
        thumbnail: bytes | None = None,
    ) -> Edit:
        """See `EditStore.commit`."""
        return self._store.commit(edit, key, tensors, thumbnail, self._terms)


def check_writable(store: EditStore) -> None:
    """Raise `StoreError` where no edit could be kept, before one is learned."""
    if store.read_only:
        raise StoreError("the edit store is read-only; open a copy of it that can be written")


def check(store: EditStore, terms: Terms) -> None:
    """Raise the error that `Terms` names for what does not hold already, before an edit is learned:
    that takes far longer than a look. The commit looks again."""
    terms.check(store.done, lambda: store.version)


def teach(
    loaded: LoadedModel,
    method: Method,
    store: EditStore,
    holding: Holding,
    fact: Fact,
    terms: Terms,
) -> Edit:
    """Teach a fact; where it is in force already, that is noted in the store's audit as "known".
    Called while attached. Raises what `Editor.edit` does."""
    check(store, terms)
    (outcome,) = Teacher(loaded, method, OnTerms(store, terms), holding).teach([fact])
    if isinstance(outcome, FailedEdit):
        raise outcome.error
    if isinstance(outcome, KnownEdit) and (terms.audit or terms.request):
        store.note("known", terms, outcome.id)
    return outcome
