"""An edited model as it is asked: answers, streams of them, explanations, teacher forcing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Literal, Unpack, overload

from balancedit.answering.ask import How, check_how, stream_answers
from balancedit.answering.explain import explain_answer
from balancedit.answering.force import ForcedAnswer, force_answers
from balancedit.answering.generate import generate_answers, remembering
from balancedit.answering.stream import AnswerStream, TextStream
from balancedit.answering.together import Outcome, Wish, answer_together
from balancedit.edited_model import EditedModel
from balancedit.inputs.conversation import Conversation
from balancedit.inputs.pairing import Sources, Talks, Texts, Topic, checked, checked_rows, paired
from balancedit.inputs.pictures import Shown
from balancedit.inputs.text import check_answer
from balancedit.types import BATCH_SIZE, Answer, Explanation


class AskedModel(EditedModel):
    """A model and the edits held for it, as it is asked."""

    @overload
    def ask(
        self,
        image: Shown | None,
        question: str,
        *,
        stream: Literal[False] = ...,
        **how: Unpack[How],
    ) -> Answer: ...

    @overload
    def ask(
        self, image: Conversation, *, stream: Literal[False] = ..., **how: Unpack[How]
    ) -> Answer: ...

    @overload
    def ask(
        self,
        image: Shown | Sources | None,
        question: Texts,
        *,
        stream: Literal[False] = ...,
        **how: Unpack[How],
    ) -> list[Answer]: ...

    @overload
    def ask(
        self, image: Sources, question: str, *, stream: Literal[False] = ..., **how: Unpack[How]
    ) -> list[Answer]: ...

    @overload
    def ask(
        self, image: Talks, *, stream: Literal[False] = ..., **how: Unpack[How]
    ) -> list[Answer]: ...

    @overload
    def ask(
        self, image: Shown | None, question: str, *, stream: Literal[True], **how: Unpack[How]
    ) -> TextStream: ...

    @overload
    def ask(
        self, image: Conversation, *, stream: Literal[True], **how: Unpack[How]
    ) -> TextStream: ...

    @overload
    def ask(
        self,
        image: Shown | Sources | Talks | None,
        question: str | Texts | None = ...,
        *,
        stream: Literal[True],
        **how: Unpack[How],
    ) -> AnswerStream | TextStream: ...

    def ask(
        self,
        image: Topic | Sources | Talks,
        question: str | Texts | None = None,
        *,
        max_new_tokens: int | None = None,
        num_beams: int = 1,
        batch_size: int = BATCH_SIZE,
        stream: bool = False,
    ) -> Answer | list[Answer] | TextStream | AnswerStream:
        """Answer one question about one image, or many at once.

        image: a path, bytes, a PIL image, `Pictures` (several in one prompt) or None (no image); or
        a list of them, as long as the questions' (a single image or question is used with all).
        Instead of both a `Conversation`, or a list of those, whose last turn is the question.
        max_new_tokens: of every answer at most; None: 32, and where an edit fires as many as what
        it taught takes. An answer that had not come to its end by then says so (`Answer.cut`).
        Decoding is greedy, or a beam search over `num_beams`, and nothing else: a checkpoint's own
        settings for `generate` (penalties, sampling) do not count here. stream: give the text while
        it comes, as an iterator of pieces, or of (row, piece) for many; closing it stops the model.
        Raises `ImageError` or `InputError`, which name the question where there are many.
        """
        single, pairs = paired(image, question)
        how = check_how(
            How(max_new_tokens=max_new_tokens, num_beams=num_beams, batch_size=batch_size)
        )
        rows = checked_rows(pairs)
        if stream:
            streamed = stream_answers(self._loaded, self._method, rows, self._holding, how)
            return TextStream(streamed) if single else streamed
        with self._holding.working():
            answers = generate_answers(self._loaded, self._method, rows, **how)
        return answers[0].answer if single else [one.answer for one in answers]

    def ask_together(self, wishes: Sequence[Wish], *, base: bool = False) -> Sequence[Outcome]:
        """Answer one batch of rows with as many pictures, each with its own length and reader, as a
        server asks them; what comes of each, its error included (`answering.together`). base: as
        the untouched model answers them."""
        with (
            self._holding.working(),
            self._method.routing.bypass() if base else nullcontext(),
        ):
            return answer_together(self._loaded, self._method, wishes)

    def explain(
        self,
        image: Topic,
        question: str | None = None,
        *,
        nearest: int = 5,
        max_new_tokens: int | None = None,
    ) -> Explanation:
        """Why a query gets the answer it gets: the nearest edits, their radii, which one fired, and
        what the untouched model says. image: as for `ask`, or a `Conversation` instead of both.
        max_new_tokens: as for `ask`, of both answers."""
        how = check_how(How(max_new_tokens=max_new_tokens))
        row = checked(image, question)
        with self._holding.working():
            return explain_answer(self._loaded, self._method, self._store, row, nearest, how)

    def force(
        self,
        images: Sequence[Shown | None],
        questions: Sequence[str],
        answers: Sequence[str],
        *,
        candidates: int = 1,
        batch_size: int = BATCH_SIZE,
    ) -> list[ForcedAnswer]:
        """Teacher forcing: for each question and answer, what the model finds most likely at every
        token of that answer, given the tokens before it.

        Easier than answering, since most of the answer is given away; here for figures to compare
        with published ones. candidates: how many tokens are kept at each place. Raises `ImageError`
        or `InputError`.
        """
        rows = checked_rows(list(zip(images, questions, strict=True)))
        forced = [check_answer(answer) for answer in answers]
        with self._holding.working():
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
            with self._holding.working():
                context.enter_context(remembering(self._loaded, self._method))
            yield
