"""`Editor`: a vision-language model whose answers can be edited, explained and given back.

It ties the parts together: request → prompt → prefill → look-up → routed layer → answer. It knows
models only through `LoadedModel`, methods only through the `Method` protocol, and stores only
through `EditStore`.
"""

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import nn

from balancedit.answering.force import ForcedAnswer, force_answers
from balancedit.answering.generate import (
    GeneratedAnswer,
    generate_answers,
    is_remembered,
    remembering,
)
from balancedit.answering.stream import AnswerStream, Asking, TextStream
from balancedit.errors import (
    BalanceditError,
    DamagedEditError,
    EditFailedError,
    InputError,
    StoreError,
)
from balancedit.inputs.pairing import Row, Sources, Texts, batches, paired
from balancedit.inputs.pictures import Picture, Shown, open_pictures, small_copy
from balancedit.inputs.text import check_answer, check_question
from balancedit.layer.prompts import evaluating
from balancedit.methods import LearnedEdit, Method, configure, make_method
from balancedit.models.loading import LoadedModel, load_model
from balancedit.records import reason, record_of, with_outcome
from balancedit.store import Binding, DamagedEdit, DiskStore, EditStore, MemoryStore
from balancedit.store.copying import copy_store
from balancedit.teaching import PreparedFact, prepared, with_untouched
from balancedit.types import (
    Answer,
    Edit,
    EditState,
    Explanation,
    Fact,
    FailedEdit,
    Neighbour,
)

_TOGETHER = 32  # facts prepared, asked about and, where that is possible, learned together


class Editor:
    """A model with edits. Make one with `Editor.load`.

    Outside the editor's own calls the model is untouched. Inside ``with editor:`` the raw model,
    its `forward` and `generate` included, answers with the edits in force. One editor serves one
    thread at a time; its own calls wait for each other.
    """

    def __init__(self, loaded: LoadedModel, method: Method, store: EditStore) -> None:
        self._loaded = loaded
        self._method = method
        self._store = store
        self._lock = threading.RLock()
        self._attached = 0
        self._holder: int | None = None  # the thread that the model is attached in
        self._entered: builtins.list[AbstractContextManager[nn.Module]] = []
        self._damaged: dict[str, DamagedEdit] = {}
        self._sync()

    @classmethod
    def load(
        cls,
        model: str | Path | nn.Module = "pocket",
        *,
        edits: str | Path | None = None,
        method: str = "balancedit",
        preset: str = "recommended",
        layer: str | None = None,
        processor: Any = None,
        prompt: str | None = None,
        system: str | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        **options: Any,
    ) -> Editor:
        """Load a model for editing, and the edits kept for it.

        model: "pocket", a hub name, a directory, or a loaded transformers image-text-to-text model
        (give its `processor` too). edits: directory of the edit store; made when missing, None
        keeps edits in memory. method: "balancedit", "ft", "grace", "ike" or "mend"
        (docs/methods.md). layer: dotted path of the linear layer to edit. prompt: format string for
        a model without chat template. system: a system message for the chat template. device:
        "auto" spreads the model over all devices. options: single settings of the method, such as
        ``key="mean"`` or ``alpha=0.1`` (`balancedit.methods.balancedit.BalancEditConfig`, and its
        like of the other methods).

        Raises `ModelLoadError`, `LayerError`, `InputError`, `StoreError`, `StoreMismatchError`.
        """
        configure(method, preset, options)  # wrong settings are said before the model loads
        loaded = load_model(
            model,
            processor=processor,
            layer=layer,
            prompt=prompt,
            system=system,
            device=device,
            dtype=dtype,
        )
        return cls.on(loaded, edits=edits, method=method, preset=preset, **options)

    @classmethod
    def on(
        cls,
        loaded: LoadedModel,
        *,
        edits: str | Path | None = None,
        method: str = "balancedit",
        preset: str = "recommended",
        **options: Any,
    ) -> Editor:
        """An editor of a model that is loaded already (`models.loading.load_model`); arguments and
        errors as for `load`. Several editors may share a model, but not be attached at once."""
        bound = make_method(method, configure(method, preset, options), loaded)
        binding = Binding(loaded.name, loaded.fingerprint(), method, bound.binding())
        store: EditStore = (
            MemoryStore(binding)
            if edits is None
            else DiskStore.open(Path(edits), binding, create=True)
        )
        return cls(loaded, bound, store)

    # -- what it holds -----------------------------------------------------------------------

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
        return tuple(self._damaged.values())

    def list(self, *, states: Sequence[EditState] = ("active",)) -> builtins.list[Edit]:
        """Edits in these states, oldest first."""
        return [e for e in self._store.edits().values() if e.state in states]

    def get(self, edit_id: str) -> Edit:
        """One edit by id, or by the beginning of it. Raises `EditNotFoundError`."""
        edit_id = self._store.resolve(edit_id)
        return self._store.records([edit_id])[edit_id]

    # -- asking ------------------------------------------------------------------------------

    @overload
    def ask(
        self,
        image: Shown | None,
        question: str,
        *,
        max_new_tokens: int = ...,
        num_beams: int = ...,
        batch_size: int = ...,
        stream: Literal[False] = ...,
    ) -> Answer: ...

    @overload
    def ask(
        self,
        image: Shown | Sources | None,
        question: Texts,
        *,
        max_new_tokens: int = ...,
        num_beams: int = ...,
        batch_size: int = ...,
        stream: Literal[False] = ...,
    ) -> builtins.list[Answer]: ...

    @overload
    def ask(
        self,
        image: Sources,
        question: str,
        *,
        max_new_tokens: int = ...,
        num_beams: int = ...,
        batch_size: int = ...,
        stream: Literal[False] = ...,
    ) -> builtins.list[Answer]: ...

    @overload
    def ask(
        self,
        image: Shown | None,
        question: str,
        *,
        max_new_tokens: int = ...,
        stream: Literal[True],
    ) -> TextStream: ...

    @overload
    def ask(
        self,
        image: Shown | Sources | None,
        question: str | Texts,
        *,
        max_new_tokens: int = ...,
        batch_size: int = ...,
        stream: Literal[True],
    ) -> AnswerStream | TextStream: ...

    def ask(
        self,
        image: Shown | Sources | None,
        question: str | Texts,
        *,
        max_new_tokens: int = 32,
        num_beams: int = 1,
        batch_size: int = 32,
        stream: bool = False,
    ) -> Answer | builtins.list[Answer] | TextStream | AnswerStream:
        """Answer one question about one image, or many at once.

        image: a path, bytes, a PIL image, `Pictures` (several in one prompt) or None (no image); or
        a list of them, as long as the questions' (a single image or question is used with all).
        Decoding is greedy, or a beam search over `num_beams`, and nothing else: a checkpoint's own
        settings for `generate` (penalties, sampling) do not count here. stream: give the text while
        it comes, as an iterator of pieces, or of (row, piece) for many; closing it stops the model.
        Raises `ImageError` or `InputError`.
        """
        single, pairs = paired(image, question)
        rows = [(_opened(i), check_question(q)) for i, q in pairs]
        if stream:
            if num_beams != 1:
                raise InputError("a beam search has no answer before its end; stream with one beam")
            made = self._stream(rows, max_new_tokens, batch_size)
            return TextStream(made) if single else made
        with self._working():
            answers = [
                _as_answer(a) for a in self._generate(rows, max_new_tokens, num_beams, batch_size)
            ]
        return answers[0] if single else answers

    def _stream(self, rows: Sequence[Row], max_new_tokens: int, batch_size: int) -> AnswerStream:
        """The answers to rows while they come; the editor is at work on them until the last."""
        if self._holder == threading.get_ident():
            raise InputError(
                "ask(stream=True) works in a thread of its own, which waits for `with editor:` to "
                "end; leave that context first, or stream through editor.model.generate"
            )

        def ask(batch: Sequence[int], **more: Any) -> builtins.list[Answer]:
            some = [rows[i] for i in batch]
            return [
                _as_answer(a) for a in self._generate(some, max_new_tokens, 1, len(some), **more)
            ]

        prompter = self._loaded.prompter
        return AnswerStream(
            Asking(
                builtins.list(batches([image for image, _ in rows], batch_size)),
                ask,
                self._working,
                lambda ids: prompter.decode(torch.tensor([ids]))[0],
                self._loaded.ends,
            )
        )

    def explain(self, image: Shown | None, question: str, *, nearest: int = 5) -> Explanation:
        """Why a query gets the answer it gets: the nearest edits, their radii, which one fired, and
        what the untouched model says."""
        picture = _opened(image)
        question = check_question(question)
        with self._working(), remembering(self._loaded, self._method):
            answer = self.ask(picture, question)
            with self._method.routing.bypass():
                base = self._generate([(picture, question)])[0].text
            matches = self._method.neighbours(picture, question, nearest)
            named = [m.id for m in matches] + ([answer.nearest] if answer.nearest else [])
            edits = self._store.records(named)
        neighbours = tuple(Neighbour(edits[m.id], m.distance, m.radius, m.inside) for m in matches)
        return Explanation(question, answer, base, neighbours, reason(answer, base, edits))

    def force(
        self,
        images: Sequence[Shown | None],
        questions: Sequence[str],
        answers: Sequence[str],
        *,
        candidates: int = 1,
        batch_size: int = 32,
    ) -> builtins.list[ForcedAnswer]:
        """Teacher forcing: for each question and answer, what the model finds most likely at every
        token of that answer, given the tokens before it.

        Easier than answering, since most of the answer is given away; here for figures to compare
        with published ones. candidates: how many tokens are kept at each place. Raises `ImageError`
        or `InputError`.
        """
        rows = [(_opened(i), check_question(q)) for i, q in zip(images, questions, strict=True)]
        forced = [check_answer(answer) for answer in answers]
        with self._working():
            return force_answers(
                self._loaded,
                self._method,
                rows,
                forced,
                candidates=candidates,
                batch_size=batch_size,
            )

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Inside the context questions that are asked again, in the same batches, are read again
        only from the edited layer's block on, whichever edits are in force by then; the answers are
        the same, bit for bit. It holds for every editor that shares the model (`Editor.on`), and
        keeps up to a gigabyte. The model's weights must not change meanwhile."""
        with ExitStack() as context:
            with self._working():
                context.enter_context(remembering(self._loaded, self._method))
            yield

    # -- editing -----------------------------------------------------------------------------

    def edit(
        self,
        image: Shown,
        question: str,
        answer: str,
        *,
        rephrasings: Sequence[str] = (),
        negative: Shown | None = None,
        new: bool = False,
    ) -> Edit:
        """Teach the model one new answer; in force, and stored, when this returns.

        image: as for `ask`; of several pictures the edit is about all of them, in that order.
        rephrasings: other wordings of the question to measure the radius with; without them the
        model makes its own. negative: "black", "white", "grey", "noise", or what the edit must not
        reach, with as many pictures. Both matter only to a method that measures a radius with them.
        new: the model knows nothing of the fact, so that what it says now is a guess: the edit then
        fires anywhere inside its radius, whatever the untouched model would say there. Raises
        `InputError`, `ImageError`, `EditFailedError` or `StoreError`; then nothing was kept.
        """
        fact = Fact(image, question, answer, rephrasings, negative, new)
        (made,) = self.edit_many([fact])
        if isinstance(made, FailedEdit):
            raise made.error
        return made

    def edit_many(
        self,
        facts: Iterable[Fact],
        *,
        progress: Callable[[Edit | FailedEdit], None] | None = None,
    ) -> builtins.list[Edit | FailedEdit]:
        """Teach the model many answers, trained together in batches; what comes of each fact, in
        their order.

        The edits are those that `edit` would make of the facts one after another, with the same
        overlaps and conflicts, and are stored one by one in that order: a process that is killed
        leaves the first of them, whole. A fact with wrong input, or one that cannot be learned, is
        a `FailedEdit`, and the others stand. progress: called with each as it is settled. Raises
        `StoreError` when the store fails; the edits stored by then stand too.
        """
        if self._store.read_only:
            raise StoreError("the edit store is read-only; open a copy of it that can be written")
        made: dict[int, Edit | FailedEdit] = {}

        def settled(number: int, outcome: Edit | FailedEdit) -> None:
            made[number] = outcome
            if progress is not None:
                progress(outcome)

        numbered = enumerate(facts)
        with self._working():
            while some := builtins.list(islice(numbered, _TOGETHER)):
                with remembering(self._loaded, self._method):
                    self._teach(some, settled)
        return [made[number] for number in sorted(made)]

    def _teach(
        self,
        facts: Sequence[tuple[int, Fact]],
        settled: Callable[[int, Edit | FailedEdit], None],
    ) -> None:
        """Teach some facts, given with their numbers; tell `settled` what comes of each."""
        ready: builtins.list[PreparedFact] = []
        for number, fact in facts:
            try:
                ready.append(prepared(self._loaded, self._method, number, fact))
            except BalanceditError as error:
                settled(number, FailedEdit(number, str(fact.question), error))
        if self._method.asks_untouched:
            ready = with_untouched(self._loaded, self._method, ready)
        ask = partial(self._some_of, ready)
        left = iter(ready)
        started = time.perf_counter()
        for outcomes in self._method.learn_many([fact.request for fact in ready]):
            batch = builtins.list(zip(islice(left, len(outcomes)), outcomes, strict=True))
            good = [(f, o) for f, o in batch if not isinstance(o, EditFailedError)]
            before = ask([fact for fact, _ in good])
            share = (time.perf_counter() - started) / len(batch)
            records = [
                record_of(self._method.name, fact, learned, said, share)
                for (fact, learned), said in zip(good, before, strict=True)
            ]
            kept = self._kept(good, records, ask)
            for one, outcome in batch:
                settled(
                    one.number,
                    one.failed(outcome) if isinstance(outcome, EditFailedError) else next(kept),
                )
            started = time.perf_counter()

    def _some_of(
        self, asked: Sequence[PreparedFact], wanted: Sequence[PreparedFact]
    ) -> builtins.list[str]:
        """What the model says now about some of the facts that were asked about together; where
        that batch is remembered it is asked again as it was, and so not read again."""
        rows = [fact.query for fact in asked]
        if not is_remembered(self._loaded, rows):
            return [answer.text for answer in self._generate([fact.query for fact in wanted])]
        said = {
            fact.number: answer.text
            for fact, answer in zip(asked, self._generate(rows), strict=True)
        }
        return [said[fact.number] for fact in wanted]

    def _kept(
        self,
        learned: Sequence[tuple[PreparedFact, LearnedEdit]],
        records: Sequence[Edit],
        ask: Callable[[Sequence[PreparedFact]], Sequence[str]],
    ) -> Iterator[Edit]:
        """Put a batch in force, see what it answers, and store its edits one by one, in order.
        ask: what the model says about facts."""
        try:
            for (_, new), record in zip(learned, records, strict=True):
                for retired in new.retires:
                    self._method.remove(retired)
                self._method.add(record, new.key, new.tensors)
            self._method.settle()
            after = ask([fact for fact, _ in learned])
            for (fact, new), record, said in zip(learned, records, after, strict=True):
                picture = small_copy(fact.request.image)
                done = with_outcome(record, said)
                yield self._store.commit(done, new.key, dict(new.tensors), picture)
        except BaseException:
            self._sync()  # the store is the truth: what it did not take is not held
            raise

    def revert(self, edit_id: str) -> Edit:
        """Take an edit back; what it had replaced returns. With no edit left the model is the base
        model, bit for bit. Raises `EditNotFoundError` or `StoreError`."""
        with self._lock:
            self.refresh()
            wanted = self._store.resolve(edit_id)
            changed = self._store.revert(wanted)
            self._sync()
        return next(e for e in changed if e.id == wanted)

    def save(self, directory: str | Path) -> Path:
        """Copy every edit held into a new store at `directory`. Raises `StoreError` when it holds
        edits already."""
        with self._lock:
            self.refresh()
            copy_store(self._store, Path(directory))
        return Path(directory)

    def refresh(self) -> None:
        """Take over what other processes committed to the same store. Called before every answer;
        costs microseconds when there is nothing new."""
        if self._store.changed():
            with self._lock:
                self._sync()

    # -- the raw model -----------------------------------------------------------------------

    @contextmanager
    def attached(self) -> Iterator[nn.Module]:
        """Inside the context the raw model answers with the edits in force."""
        with self._lock:
            if not self._attached:
                self._method.settle()
                self._method.routing.attach()
            self._attached += 1
            self._holder = threading.get_ident()
            try:
                yield self._loaded.model
            finally:
                self._attached -= 1
                if not self._attached:
                    self._holder = None
                    self._method.routing.detach()

    def __enter__(self) -> Editor:
        context = self.attached()
        context.__enter__()
        self._entered.append(context)
        return self

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)

    def inputs(
        self, images: Sequence[Shown | None], questions: Sequence[str]
    ) -> dict[str, torch.Tensor]:
        """A batch for the raw model: ``input_ids`` and ``attention_mask`` (B, T), padded on the
        left, ``pixel_values`` and what else the processor makes, on the model's device. Every row
        shows as many pictures."""
        pictures = [_opened(i) for i in images]
        prompts = [check_question(q) for q in questions]
        with self.attached():
            rows = self._method.worded(list(zip(pictures, prompts, strict=True)))
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
        with self.attached(), prompts:
            return self._loaded.model(**inputs)

    # -- inside ------------------------------------------------------------------------------

    @contextmanager
    def _working(self) -> Iterator[None]:
        """One of the editor's own calls: with the edits in force, as the store has them now."""
        with (
            self._lock,
            evaluating(self._loaded.model),
            self.attached(),
            self._loaded.pictures.reused(),
        ):
            self.refresh()
            yield

    def _sync(self) -> None:
        """Make the method hold exactly the store's active edits."""
        wanted = self._store.active()
        held = set(self._method.active())
        missing = [i for i in wanted if i not in held]
        if missing and self._method.sequential:  # what comes after it is added again behind it
            missing = wanted[wanted.index(missing[0]) :]
        for gone in held - (set(wanted) - set(missing)):
            self._method.remove(gone)
        standing = set(wanted) - set(missing)
        self._damaged = {i: d for i, d in self._damaged.items() if i in standing}
        if missing:
            self._take_over(missing)
        if self._attached:
            self._method.settle()

    def _take_over(self, missing: Sequence[str]) -> None:
        """Put stored edits in force, all but damaged ones."""
        if self._method.reads_late:
            held, damaged = self._store.held(missing)
            late = [
                partial(self._read, e.id, read)
                for e, read in zip(held.edits, held.read, strict=True)
            ]
            self._method.add_many(replace(held, read=late))
        else:
            good, damaged = self._store.load(missing)
            for entry in good:
                self._method.add(entry.edit, entry.key, entry.tensors)
        self._damaged |= {d.id: d for d in damaged}

    def _read(self, edit_id: str, read: Callable[[], dict[str, torch.Tensor]]) -> Any:
        """A stored edit's tensors, when they are first wanted."""
        try:
            return read()
        except DamagedEditError as error:
            self._damaged[edit_id] = DamagedEdit(edit_id, error.reason)
            raise

    def _generate(
        self,
        rows: Sequence[tuple[Picture | None, str]],
        max_new_tokens: int = 32,
        num_beams: int = 1,
        batch_size: int = 32,
        **more: Any,
    ) -> builtins.list[GeneratedAnswer]:
        return generate_answers(
            self._loaded,
            self._method,
            rows,
            max_new_tokens=max_new_tokens,
            num_beams=num_beams,
            batch_size=batch_size,
            **more,
        )


def _opened(image: Shown | None) -> Picture | None:
    return None if image is None else open_pictures(image)


def _as_answer(row: GeneratedAnswer) -> Answer:
    d = row.decision
    return Answer(row.text, d.fired, d.nearest, d.distance, d.radius)
