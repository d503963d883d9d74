"""IKE: the new fact goes into the prompt, after demonstrations of how to use one. A baseline.

Nothing in the model changes. Every prompt is preceded by the held fact that lies nearest to it, and
by that fact's demonstrations, retrieved from a training set when the edit was made; there is no
radius, so some fact precedes every prompt. Only the editor's own calls and `Editor.inputs` word
prompts like this: the raw model inside ``with editor:`` is the untouched one.

Source: Zheng et al., *Can We Edit Factual Knowledge by In-Context Learning?* (2023): k = 32, mixed
copy : update : retain = 4 : 12 : 16, nearest last; EasyEdit takes all three of every record.
Retrieval embeds picture and question together,
as the BalancEdit paper does: here the model's own mean embedding of the prompt at the edited layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from balancedit.codebook.codebook import Codebook, Match, euclidean
from balancedit.codebook.pooling import mean_key
from balancedit.errors import EditFailedError, InputError, PromptError, nearest_names
from balancedit.files.cache import cache_dir
from balancedit.inputs.conversation import Asked, preceded
from balancedit.inputs.pairing import Row
from balancedit.inputs.pictures import Picture
from balancedit.inputs.wording import fact
from balancedit.layer.decisions import Decision, OpenTraces, RouteTrace
from balancedit.methods.demonstrations import MIXES, Demonstrations
from balancedit.methods.presets import alike
from balancedit.methods.protocol import EditRequest, LearnedEdit, OfferedMethod, one_by_one
from balancedit.methods.routed import RoutedLayer
from balancedit.models.loading import LoadedModel
from balancedit.store.protocol import HeldEdits
from balancedit.types import Edit

_RESERVE = 64  # tokens kept free for a longer question and the answer


@dataclass(frozen=True)
class IKEConfig:
    """What precedes a prompt."""

    demonstrations: int = 32  # k (source): records they come from; 0: the fact alone
    mix: Literal["mixed", "triples"] = "mixed"  # the source's, or EasyEdit's three of each record
    data: str = "okedit-pocket"  # training set that demonstrations come from
    part: str = "edit-train"

    def __post_init__(self) -> None:
        if self.demonstrations < 0:
            raise InputError(f"demonstrations is {self.demonstrations}; give 0 or more")
        if self.mix not in MIXES:
            raise InputError(f"unknown mix '{self.mix}'{nearest_names(self.mix, MIXES)}")


#: Named settings. A processor's attention over 32 demonstrations is dear; on the default model
#: eight follow a fact as well.
PRESETS: dict[str, IKEConfig] = {
    "recommended": IKEConfig(demonstrations=8),
    **alike(IKEConfig()),
}


class PrecededPrompts(RoutedLayer):
    """A layer that is watched for keys and never changed: what is decided is decided before a
    prompt is written, and seen here."""

    def __init__(self, loaded: LoadedModel, facts: Codebook) -> None:
        super().__init__(loaded, mean_key)
        self.worded = OpenTraces()
        self._facts = facts

    def decisions(self, keys: torch.Tensor) -> Sequence[Decision] | None:
        """None while facts are held: they change the prompt, and so its key."""
        return None if len(self._facts) else super().decisions(keys)

    def tracing(self) -> AbstractContextManager[RouteTrace]:
        """Collect which fact preceded each prompt worded inside the context."""
        return self.worded.tracing()


class IKE:
    """The facts held, and what precedes a prompt for each. Letters: D = width of an embedding."""

    name = "ike"
    sequential = False
    reads_late = False
    positives = 0
    negative = None
    asks_untouched = False

    def __init__(self, loaded: LoadedModel, config: IKEConfig) -> None:
        self.config = config
        self._facts = Codebook(euclidean)
        self.routing = PrecededPrompts(loaded, self._facts)
        self._prefixes: dict[str, str] = {}
        self._targets: dict[str, str] = {}
        self._demonstrations: Demonstrations | None = None

    def binding(self) -> dict[str, str]:
        """What a store of these edits is bound to beside the model."""
        return {"layer": self.routing.loaded.layer, "key": "mean", "distance": "euclidean"}

    def learn(self, request: EditRequest) -> LearnedEdit:
        """Embed one fact and choose its demonstrations. Raises `InputError` for a training set
        that does not exist.

        The only tensor is ``prefix``, the UTF-8 bytes of what precedes a prompt, uint8.
        """
        key = self.routing.prefill_keys([request.image], [request.question])[0].cpu()
        chosen = self._chosen(key)
        prefix, kept = self._fitting(chosen, request)
        warnings: tuple[str, ...] = ()
        if kept < len(chosen):
            warnings = (
                f"{kept} of {len(chosen)} demonstrations fit the model's context; the farthest "
                "were left out",
            )
        data = torch.tensor(list(prefix.encode()), dtype=torch.uint8)
        return LearnedEdit(key=key, tensors={"prefix": data}, steps=0, loss=0.0, warnings=warnings)

    def learn_many(
        self, requests: Sequence[EditRequest]
    ) -> Iterator[list[LearnedEdit | EditFailedError]]:
        """See `Method`; one at a time."""
        return one_by_one(self.learn, requests)

    def _chosen(self, key: torch.Tensor) -> list[str]:
        """Demonstrations for a fact with this embedding (D,), nearest last."""
        if not self.config.demonstrations:
            return []
        if self._demonstrations is None:
            from balancedit.data.catalogue import find  # the library core needs no data set

            data = find(self.config.data)
            made_of = [
                self.routing.loaded.fingerprint(),
                self.routing.loaded.layer,
                data.digest(self.config.part),
                *self.routing.loaded.rendered().values(),
            ]
            self._demonstrations = Demonstrations(
                data.load(self.config.part), self.routing.prefill_keys, made_of, cache_dir() / "ike"
            )
        return self._demonstrations.nearest(key, self.config.demonstrations, self.config.mix)

    def _fitting(self, chosen: list[str], request: EditRequest) -> tuple[str, int]:
        """What precedes a prompt, and how many demonstrations of it fit the context; the farthest
        are dropped first. Raises `EditFailedError` where not even the fact fits."""
        limit = self.routing.loaded.context_length
        new = fact(request.question, request.target)
        kept_free = max(_RESERVE, self.routing.answer_tokens([request.target]))
        try:
            for dropped in range(len(chosen) + 1):
                prefix = "".join(chosen[dropped:]) + new
                if limit is None or self._tokens(prefix, request) + kept_free <= limit:
                    return prefix, len(chosen) - dropped
        except PromptError as error:  # what is well as an answer may not be part of a prompt
            raise EditFailedError(f"the fact cannot be put into a prompt: {error}") from error
        raise EditFailedError(
            f"the fact, its question and its answer do not fit the {limit} tokens that "
            f"'{self.routing.loaded.name}' holds; shorten them"
        )

    def _tokens(self, prefix: str, request: EditRequest) -> int:
        prompt = prefix + request.question
        inputs = self.routing.loaded.prompter.inputs([request.image], [prompt])
        return int(inputs["input_ids"].shape[1])

    # -- holding -----------------------------------------------------------------------------

    def add(self, edit: Edit, key: torch.Tensor, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put a fact in force. key: (D,); tensors as `learn` makes them. Raises `ValueError` for
        others."""
        prefix = _text(tensors)
        self._facts.add(edit.id, key, 0.0)
        self._targets[edit.id] = edit.target
        self._prefixes[edit.id] = prefix

    def add_many(self, held: HeldEdits) -> None:
        """Not offered: what precedes a prompt is short, and held as it is."""
        raise NotImplementedError("ike takes stored edits one at a time")

    def remove(self, edit_id: str) -> None:
        """Take a fact out of force; the others stay as they are."""
        self._facts.remove(edit_id)
        del self._prefixes[edit_id], self._targets[edit_id]

    def settle(self) -> None:
        """Nothing: facts do not depend on one another."""

    def active(self) -> Sequence[str]:
        """Ids in force, oldest first."""
        return self._facts.ids

    def neighbours(self, image: Picture | None, question: Asked, most: int) -> list[Match]:
        """None: a fact has no radius to be inside of. `Answer` names the nearest."""
        return []

    def answer_tokens(self, edit_id: str) -> int:
        """See `Method`."""
        return self.routing.answer_tokens([self._targets[edit_id]])

    # -- applying ----------------------------------------------------------------------------

    def worded(self, rows: Sequence[Row]) -> list[Row]:
        """The rows, each question behind the prefix of the fact nearest to it."""
        decisions = self._decisions(rows)
        self.routing.worded.record(decisions)
        return [
            (image, preceded(asked, self._prefixes[d.fired]) if d.fired else asked)
            for (image, asked), d in zip(rows, decisions, strict=True)
        ]

    def _decisions(self, rows: Sequence[Row]) -> list[Decision]:
        if self.routing.router.is_paused or not len(self._facts):
            return [Decision()] * len(rows)
        keys = self.routing.prefill_keys([i for i, _ in rows], [q for _, q in rows])
        nearest = [m for m in self._facts.nearest(keys) if m is not None]
        return [Decision(m.id, m.id, m.distance, None) for m in nearest]


def _text(tensors: Mapping[str, torch.Tensor]) -> str:
    """The prefix that an edit's tensors hold. Raises `ValueError` where they hold anything else."""
    held = {name: (t.dtype, t.dim()) for name, t in tensors.items()}
    if held != {"prefix": (torch.uint8, 1)}:
        raise ValueError(f"an edit's tensors are {sorted(held)}, a fact has 'prefix', bytes alone")
    try:
        return bytes(tensors["prefix"].tolist()).decode()
    except UnicodeDecodeError as error:
        raise ValueError("an edit's 'prefix' is no UTF-8 text") from error


METHOD = OfferedMethod(IKE, PRESETS)
