"""What every editor promises, as checks that any model and method can be put through.

Bit for bit where the batch has the same shape, else as near as `closeness` says, and always with
the same route, and the same answer but for ties.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from balancedit import Edit, Editor, Pictures
from balancedit.learning.loop import with_answer
from closeness import READ, as_good, assert_alike, assert_near, assert_same_text

QUESTION = "what is this?"
REWORDED = ["what's it?"]
OTHER = "who painted the long wall over there, and when was that?"
A, B, FAR = tiny.picture(1), tiny.picture(2), tiny.picture(3, side=40)
WIDE = tiny.picture(5, side=48).resize((48, 16))

Mixed = tuple[list, list[str]]  # pictures and questions: two to edit, one to leave, the first again
MIXED = ([A, B, FAR, A], [QUESTION, QUESTION, OTHER, REWORDED[0]])
AB, CD = Pictures(A, B), Pictures(tiny.picture(4), tiny.picture(7))
SEVERAL = ([AB, CD, Pictures(FAR, WIDE), AB], MIXED[1])

#: Architectures whose numbers stand for the others' under other kernels.
TELLING = ("llava", "qwen2_vl")


def some_marked(families: Iterable[str]) -> list[Any]:
    """Parameters for a fixture; the telling ones take part in ``make test-kernels``."""
    return [pytest.param(f, marks=pytest.mark.kernels) if f in TELLING else f for f in families]


def inputs_of(editor: Editor, images: list, questions: list[str]) -> dict[str, torch.Tensor]:
    return editor._loaded.prompter.inputs(images, questions)


def logits_of(editor: Editor, images: list, questions: list[str]) -> torch.Tensor:
    """Logits of a batch as the raw model gives them right now."""
    with torch.no_grad():
        return editor.model(**inputs_of(editor, images, questions)).logits


def two_edits(editor: Editor, mixed: Mixed = MIXED) -> tuple[str, str]:
    """An edit of each of the first two rows, with answers the tiny model can learn."""
    images, questions = mixed
    first = editor.edit(images[0], questions[0], "ab", rephrasings=REWORDED)
    second = editor.edit(images[1], questions[1], "xyz", rephrasings=REWORDED)
    assert (first.answer_after, second.answer_after) == ("ab", "xyz")
    return first.id, second.id


def widened(editor: Editor, edit: Edit) -> Edit:
    """The edit, with a radius that holds every prompt."""
    codebook, key = editor._method.entries.codebook, editor._store.load([edit.id])[0][0].key
    codebook.remove(edit.id)
    codebook.add(edit.id, key, 1e6)
    return edit


@contextmanager
def given_back(editor: Editor, mixed: Mixed = MIXED) -> Iterator[torch.Tensor]:
    """After the context, in which all edits made are taken back, the model is what it was: logits,
    modules, weights, and no hook of ours. Gives the logits of `mixed` beforehand."""
    modules = {n: id(m) for n, m in editor.model.named_modules()}
    state = {n: v.clone() for n, v in editor.model.state_dict().items()}
    base = logits_of(editor, *mixed)
    yield base
    with editor:
        assert torch.equal(logits_of(editor, *mixed), base)
    assert {n: id(m) for n, m in editor.model.named_modules()} == modules
    assert all(torch.equal(v, state[n]) for n, v in editor.model.state_dict().items())
    hooks = [
        h
        for m in editor.model.modules()
        for h in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())
        if "balancedit" in getattr(h, "__module__", "")
    ]
    assert not hooks


def assert_changes_only_inside(editor: Editor, base: torch.Tensor, mixed: Mixed = MIXED) -> None:
    """The edits held change the logits of `mixed`, and only inside the editor's context."""
    with editor:
        assert not torch.equal(logits_of(editor, *mixed), base)
    assert torch.equal(logits_of(editor, *mixed), base), "outside the context: the base model"


def assert_saved_edits_give_the_same(
    editor: Editor, make: Any, directory: Path, mixed: Mixed = MIXED
) -> None:
    """The edits held give the same logits, and records, to an editor that `make` opens on a copy
    of them in `directory`."""
    with editor:
        expected = logits_of(editor, *mixed)
    editor.save(directory)
    loaded = make(edits=directory)
    with loaded:
        assert torch.equal(logits_of(loaded, *mixed), expected)
    assert loaded.edits() == editor.edits()


def assert_a_batch_equals_its_singles(
    editor: Editor, edits: tuple[str, str], mixed: Mixed = MIXED
) -> None:
    """Rows that fire either edit or none, together and alone: the same answers and decisions. In
    half precision every margin of a random model is within rounding, so of texts only what was
    learned is compared."""
    together = editor.ask(*mixed, max_new_tokens=6)
    alone = [editor.ask(i, q, max_new_tokens=6) for i, q in zip(*mixed, strict=True)]
    assert [a.fired for a in together[:3]] == [*edits, None], "all three kinds of row"
    whole = editor._loaded.dtype == torch.float32
    for a, b, image, question in zip(together, alone, *mixed, strict=True):
        assert (a.fired, a.nearest, a.radius) == (b.fired, b.nearest, b.radius)
        assert_alike(a.distance, b.distance, 1e-3 if whole else 0.05)
        if whole:
            assert_same_text(a.text, b.text, editor, image, question, tokens=6)
    assert [a.text for a in alone[:2]] == [a.text for a in together[:2]] == ["ab", "xyz"]


def assert_cached_decoding_equals_uncached(
    editor: Editor, edits: tuple[str, str], beams: int, mixed: Mixed = MIXED
) -> None:
    """`generate` with a cache and without gives the same tokens by the same routes."""
    routes = assert_a_cache_changes_nothing(editor, beams, mixed)
    assert set(routes) == {*edits, None}


def assert_a_cache_changes_nothing(
    editor: Editor, beams: int = 1, mixed: Mixed = MIXED
) -> list[str | None]:
    """The same tokens, or such as are as good, by the same routes, which are given back."""
    runs, routes = [], []
    for use_cache in (True, False):
        with editor, editor._method.routing.tracing() as trace:
            runs.append(_generated(editor, mixed, beams, use_cache=use_cache))
        routes.append([d.fired for d in trace.rows])
    assert routes[0] == routes[1]
    assert len(routes[0]) == 4 * beams, "one decision a row, none for decode steps"
    for row, (one, other) in enumerate(zip(*(run.sequences.tolist() for run in runs), strict=True)):
        assert one == other or as_good(row, row, *runs), row
    return routes[0]


def assert_beam_search_keeps_each_row_its_edit(editor: Editor, mixed: Mixed = MIXED) -> None:
    """A beam search over a batch gives what it gives over each row alone."""
    together = editor.ask(*mixed, num_beams=3, max_new_tokens=6)
    for row, (answer, image, question) in enumerate(zip(together, *mixed, strict=True)):
        single = editor.ask(image, question, num_beams=3, max_new_tokens=6)
        assert answer.fired == single.fired
        if answer.text != single.text:
            with editor:
                runs = [_generated(editor, m, 3) for m in (mixed, ([image], [question]))]
            assert as_good(row, 0, *runs), (answer.text, single.text)
    assert [a.text for a in together[:2]] == ["ab", "xyz"]


def _generated(editor: Editor, mixed: Mixed, beams: int, use_cache: bool = True) -> Any:
    """What the model as it is now generates, with what the tokens were chosen by."""
    hidden = editor.model.config.image_token_id  # random weights may say it
    return editor.model.generate(
        **inputs_of(editor, *mixed),
        num_beams=beams,
        do_sample=False,
        max_new_tokens=6,
        use_cache=use_cache,
        suppress_tokens=[hidden],
        output_scores=True,
        return_dict_in_generate=True,
    )


def right_padded(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same prompts with their padding moved to the right, wherever it was."""
    real = inputs["attention_mask"] == 1
    moved = dict(inputs)
    for name, value in inputs.items():
        if value.shape[:2] == real.shape:
            rows = zip(value, real, strict=True)
            moved[name] = torch.stack([torch.cat([row[at], row[~at]]) for row, at in rows])
    return moved


def assert_padding_may_stand_on_either_side(
    editor: Editor, edits: tuple[str, str], mixed: Mixed = MIXED
) -> None:
    """Left or right padding: the same routes, the same logits behind each prompt."""
    left = inputs_of(editor, *mixed)
    right = right_padded(left)
    assert not torch.equal(left["attention_mask"], right["attention_mask"])
    routes, ends, keys = [], [], []
    for inputs in (left, right):
        mask = inputs["attention_mask"]
        with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
            logits = editor.model(**inputs).logits
        last = (mask * torch.arange(mask.shape[1])).argmax(1)
        ends.append(logits[torch.arange(len(mask)), last])
        routes.append([d.fired for d in trace.rows])
        keys.append(trace.stacked_keys())
    assert routes[0] == routes[1]
    assert routes[0][:3] == [*edits, None]
    assert_near(keys[1], keys[0], READ[ends[0].dtype])
    assert_near(ends[1], ends[0])


def assert_the_target_never_routes(editor: Editor, how: str, mixed: Mixed = MIXED) -> None:
    """Whatever stands behind a prompt in a teacher-forced batch, keys and routes are the prompt's.
    how: what tells where prompts end, "labels" or "prompt_lengths"."""
    prompt = inputs_of(editor, *mixed)
    lengths = prompt["attention_mask"].sum(1).tolist()
    seen = []
    for target in ("ab", "zzzzzz", "?? who painted"):
        ids = editor._loaded.prompter.answer_ids(target, 2)
        inputs = with_answer(editor.model, prompt, ids)
        with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
            if how == "labels":
                labels = inputs["input_ids"].clone()
                labels[:, : prompt["input_ids"].shape[1]] = -100
                editor.model(**inputs, labels=labels)
            else:
                editor.forward(inputs, prompt_lengths=lengths)
        seen.append((trace.rows, trace.stacked_keys()))
    with torch.no_grad(), editor, editor._method.routing.tracing() as trace:
        editor.model(**prompt)
    assert len({r.fired for r in trace.rows}) == 3, "either edit fires, and a row takes neither"
    expected = trace.stacked_keys()
    for rows, keys in seen:
        assert [r.fired for r in rows] == [r.fired for r in trace.rows]
        assert_near(keys, expected, READ[editor._loaded.dtype])
