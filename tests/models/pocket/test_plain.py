"""Rewordings by the plain language model: reused reading changes none of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from balancedit.models.pocket import PlainRephraser
from balancedit.models.pocket.recipe import plain

QUESTIONS = ("What kind of thing is this?", "How many animals are there?")


class Letters:
    """A tokenizer whose tokens are characters by their code."""

    def batch_decode(self, rows: torch.Tensor, **_: Any) -> list[str]:
        return ["".join(map(chr, row)) for row in rows.tolist()]


def ids(*texts: str) -> torch.Tensor:
    return torch.tensor([[ord(c) for c in text] for text in texts])


@pytest.mark.parametrize(
    ("texts", "done"),
    [
        (("P: ab", "P: cd", "P: ef"), False),
        (("P: a\n", "P: cd", "P:\nef"), False),
        (("P: a\n", "P: b\n", "P: ef"), True),  # the third goes on no longer
        (("P:\nab", "P: b\n", "P: c\n"), False),  # has begun with an empty line
    ],
)
def test_the_search_ends_with_the_last_line_of_those_that_go_on(
    texts: tuple[str, ...], done: bool
) -> None:
    said = plain._AllSaid(Letters(), prompt=2, beams=2)
    assert said(ids(*texts), None).tolist() == [done] * len(texts)


@pytest.fixture(scope="module")
def rephraser() -> PlainRephraser:
    made = PlainRephraser()
    made.prepare()
    return made


def test_what_was_asked_before_changes_nothing(rephraser: PlainRephraser) -> None:
    ask = rephraser.prepare()
    first, other, again = (ask(q, 1) for q in (*QUESTIONS, QUESTIONS[0]))
    assert first == again != other
    for said in (first, other):
        assert said
        assert all("\n" not in text and text == text.strip() for text in said)


def test_it_is_the_likeliest_of_a_search_over_the_whole_prompt(
    rephraser: PlainRephraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    load = plain._language_model
    monkeypatch.setattr(
        plain, "_language_model", lambda folder: made.append(load(folder)) or made[0]
    )
    ask = plain.plain_rephraser()
    tokenizer = plain.AutoTokenizer.from_pretrained(plain.convert.ensure() / plain.convert.MODEL)
    for question in QUESTIONS:
        prompt = plain._ids(tokenizer, plain.BEFORE + plain.AFTER.format(question=question))
        said = plain._AllSaid(tokenizer, prompt.shape[1], 4)
        whole = made[0].generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            num_beams=4,
            max_new_tokens=24,
            pad_token_id=tokenizer.eos_token_id,
            stopping_criteria=plain.StoppingCriteriaList([said]),
        )
        text = tokenizer.decode(whole[0, prompt.shape[1] :]).strip().splitlines()[0]
        assert ask(question, 1)[0] == text.strip()


def test_a_question_is_reworded_once_and_by_a_model_that_is_loaded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = SimpleNamespace(loaded=0, asked=[])

    def load() -> Any:
        calls.loaded += 1
        return lambda question, n: calls.asked.append(question) or [f"{question} {n}"]

    monkeypatch.setattr(plain, "plain_rephraser", load)
    made = PlainRephraser()
    assert not calls.loaded
    assert [made("what?", 1), made("what?", 1), made("why?", 2)] == [["what? 1"]] * 2 + [["why? 2"]]
    assert (calls.loaded, calls.asked) == (1, ["what?", "why?"])
