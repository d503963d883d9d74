"""The raw model with its edits: what is held, and the model's own calls with the edits in force."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from balancedit.errors import RoutingError
from balancedit.holding import Holding
from balancedit.inputs.pairing import Topic, checked_rows
from balancedit.methods import Method
from balancedit.models.loading import LoadedModel
from balancedit.store import DamagedEdit, EditStore
from balancedit.types import Edit, EditState


class EditedModel:
    """A model and the edits held for it. Inside its context the raw model, `forward` and `generate`
    included, answers with the edits in force; outside it is untouched."""

    def __init__(self, loaded: LoadedModel, method: Method, store: EditStore) -> None:
        self._loaded = loaded
        self._method = method
        self._store = store
        self._holding = Holding(loaded, method, store)
        self._entered: list[AbstractContextManager[nn.Module]] = []

    # -- what it holds -----------------------------------------------------------------------

    @property
    def store(self) -> EditStore:
        """Where the edits are kept."""
        return self._store

    @property
    def version(self) -> int:
        """The version of the store that what it holds is at; behind `EditStore.version` where
        others have changed the store since, until `refresh` or the next answer."""
        return self._store.seen_version

    @property
    def model(self) -> nn.Module:
        """The model itself; untouched outside ``with editor:``."""
        return self._loaded.model

    @property
    def processor(self) -> Any:
        """The model's processor."""
        return self._loaded.prompter.processor

    @property
    def layer(self) -> str:
        """Dotted path of the edited layer."""
        return self._loaded.layer

    @property
    def damaged(self) -> tuple[DamagedEdit, ...]:
        """Edits whose stored key or tensors are damaged; they are left out, the others work.

        In a store of more than a few hundred edits, keys and the files' sizes are checked when it
        is opened, and the content of a file when the edit first fires; one found damaged then is
        left out from that answer on, and named here."""
        return self._holding.damaged

    def edits(self, *, states: Sequence[EditState] = ("active",)) -> list[Edit]:
        """Edits in these states, oldest first."""
        return [e for e in self._store.edits().values() if e.state in states]

    @property
    def edits_in_force(self) -> int:
        """How many edits are in force, as of the last answer or edit."""
        return len(self._method.active())

    def get(self, edit_id: str) -> Edit:
        """One edit by id, or by the beginning of it. Raises `EditNotFoundError`."""
        edit_id = self._store.resolve(edit_id)
        return self._store.records([edit_id])[edit_id]

    def refresh(self) -> None:
        """Take over what other processes committed to the same store. Called before every answer;
        costs microseconds when there is nothing new."""
        self._holding.refresh()

    def close(self) -> None:
        """Let go of the store's files now, not when the editor is collected; it is not used
        afterwards. The model is untouched and stays usable. Waits for a call under way; raises
        `RoutingError` inside ``with editor:``."""
        with self._holding.alone():
            if self._holding.is_attached_here:
                raise RoutingError("leave `with editor:` before you close the editor")
            self._store.close()

    # -- the raw model -----------------------------------------------------------------------

    def attached(self) -> AbstractContextManager[nn.Module]:
        """Inside the context the raw model answers with the edits in force, as the store has them
        whenever the model is called. Raises `RoutingError` where another editor's edits are in
        force on the model, or another thread is inside."""
        return self._holding.attached(lasting=True)

    def __enter__(self) -> Self:
        context = self.attached()
        context.__enter__()
        self._entered.append(context)
        return self

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)

    def inputs(
        self, images: Sequence[Topic], questions: Sequence[str | None]
    ) -> dict[str, torch.Tensor]:
        """A batch for the raw model: ``input_ids`` and ``attention_mask`` (B, T), padded on the
        left, ``pixel_values`` and what else the processor makes, on the model's device. Every row
        shows as many pictures; a `Conversation` among the images has None for its question."""
        asked = checked_rows(list(zip(images, questions, strict=True)))
        with self._holding.attached():
            rows = self._method.worded(asked)
        inputs = self._loaded.prompter.inputs([i for i, _ in rows], [q for _, q in rows])
        return self._loaded.to_device(inputs)

    def forward(
        self, inputs: Mapping[str, torch.Tensor], *, prompt_lengths: Sequence[int] | None = None
    ) -> Any:
        """The edited model's forward pass on a processor's output.

        prompt_lengths: for teacher forcing, how many real tokens of each row are the prompt; what
        follows is the answer, which neither key nor routing may see. None: the whole row, or what
        stands before the labels when `inputs` has them.
        """
        prompts: AbstractContextManager[None] = nullcontext()
        if prompt_lengths is not None:
            prompts = self._method.routing.prompt_lengths(prompt_lengths)
        with self._holding.attached(), prompts:
            return self._loaded.model(**inputs)

    if not TYPE_CHECKING:  # which would take the name for the type in every line above

        def list(self, *, states: Sequence[EditState] = ("active",)) -> list[Edit]:
            """The former name of `edits`."""
            warnings.warn(
                "Editor.list is now Editor.edits; the old name goes with the next release",
                DeprecationWarning,
                stacklevel=2,
            )
            return self.edits(states=states)
