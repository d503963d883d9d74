"""Metrics against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from balancedit.bench.metrics import (
    bootstrap,
    bootstrap_harmonic,
    exact_match,
    harmonic_mean,
    token_accuracy,
    top_k_agreement,
)
from balancedit.inputs.vqa import vqa_answer
from languages import LANGUAGES, Language


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("The Owl.", "owl"),
        ("an owl", "owl"),
        ("three", "3"),
        ("Ten birds", "10 birds"),
        ("T-shirt", "t shirt"),
        ("don't know", "dont know"),
        ("rock’n’roll", "rock'n'roll"),
        ("1,000", "1000"),
        ("U.S.A.", "usa"),
        (" red,\nblue ", "red blue"),
        ("¿perro?", "perro"),
        ("ＯＷＬ", "owl"),  # full-width letters
        ("a", "A"),  # an article and nothing else is an answer too
        ("!", " ! "),
    ],
)
def test_the_same_answer(said: str, wanted: str) -> None:
    assert exact_match(said, wanted)
    assert exact_match(wanted, said)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("owl", "owls"),
        ("3.5", "35"),
        ("3.5", "3 5"),
        ("1,5", "15"),
        ("50%", "50"),
        ("C#", "C"),
        ("an", "the"),
        ("!", "?"),
        ("", "owl"),
        ("eleven", "11"),  # the rule ends at ten
        ("की", "का"),  # vowel signs are no punctuation
        ("snowy owl", "owl"),
        ("-5", "5"),  # VQA's own form has no signs
        ("+5", "-5"),
        ("A+", "A-"),
        ("C++", "C"),
        ("C++", "C#"),
    ],
)
def test_another_answer(said: str, wanted: str) -> None:
    assert not exact_match(said, wanted)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_answers_in_any_language(language: Language) -> None:
    for way in language.same:
        assert exact_match(way, language.same[0])
    for other in language.others:
        forgiven = other == "Masse"  # VQA's form folds case fully: ß is ss
        assert exact_match(language.same[0], other) == forgiven, other


def test_normalising_again_changes_nothing() -> None:
    for text in ("The 1,000 Owls!", "3.5 kg", "AT&T's", "none", "1. 2. 3.", "."):
        assert vqa_answer(vqa_answer(text)) == vqa_answer(text)


def test_harmonic_mean() -> None:
    assert harmonic_mean([1.0, 1.0, 1.0]) == 1
    assert harmonic_mean([0.5, 1.0]) == pytest.approx(2 / 3)
    # BalancEdit on OKEDIT with MiniGPT-4: the paper's Table 3 prints 71.58
    assert harmonic_mean([0.9987, 0.7646, 0.5314]) == pytest.approx(0.7158, abs=5e-5)
    assert harmonic_mean([0.0, 1.0]) == 0
    assert math.isnan(harmonic_mean([math.nan, 1.0]))
    with pytest.raises(ValueError, match="0 or more"):
        harmonic_mean([])
    with pytest.raises(ValueError, match="0 or more"):
        harmonic_mean([0.5, -0.1])


def test_an_edit_without_probes_is_left_out() -> None:
    found = bootstrap([1.0, math.nan, 0.5])
    assert (found.mean, found.n) == (0.75, 2)
    nothing = bootstrap([math.nan, math.nan])
    assert nothing.n == 0
    assert all(math.isnan(v) for v in (nothing.mean, nothing.low, nothing.high))


def test_intervals_are_those_of_the_binomial() -> None:
    scores = [1.0] * 80 + [0.0] * 20
    found = bootstrap(scores)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 100)
    assert found.mean == 0.8
    assert found.low == pytest.approx(0.8 - half, abs=0.015)
    assert found.high == pytest.approx(0.8 + half, abs=0.015)
    assert bootstrap(scores) == found
    assert bootstrap(scores, seed=1) != found
    sure = bootstrap([1.0] * 10)
    assert (sure.low, sure.high) == (1, 1)


def test_the_interval_of_the_harmonic_mean_is_of_resampled_means() -> None:
    scores = [1.0, 0.0, 1.0, 1.0, 0.5, 1.0]
    alone = bootstrap(scores)
    together = bootstrap_harmonic([scores, scores, scores])  # the same edits drawn for all three
    assert together.mean == pytest.approx(alone.mean)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high))
    # not the mean of edits' own harmonic means, which would be 0 here
    assert bootstrap_harmonic([[1.0, 0.0], [0.0, 1.0]]).mean == 0.5


def test_metrics_of_different_edits_are_refused() -> None:
    with pytest.raises(ValueError, match="one score an edit"):
        bootstrap_harmonic([[1.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="one score an edit"):
        bootstrap([])


def test_token_accuracy() -> None:
    top = [[2, 0], [0, 1], [3, 2]]
    assert token_accuracy([2, 0, 3], top) == 1
    assert token_accuracy([2, 1, 3], top) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="do not match"):
        token_accuracy([2, 0], top)
    with pytest.raises(ValueError, match="do not match"):
        token_accuracy([], [])


def test_top_k_agreement_compares_rank_by_rank() -> None:
    before = [[4, 3, 2, 1], [4, 3, 2, 1]]
    after = [[4, 3, 2, 1], [3, 4, 2, 1]]
    assert top_k_agreement(before, before, k=4) == 1
    assert top_k_agreement(before, after, k=1) == 0.5
    assert top_k_agreement(before, after, k=2) == 0.5
    assert top_k_agreement(before, after, k=4) == 0.75
    with pytest.raises(ValueError, match="cannot compare"):
        top_k_agreement(before, after, k=10)
    with pytest.raises(ValueError, match="cannot compare"):
        top_k_agreement(before, after[:1], k=1)
