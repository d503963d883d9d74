"""What the figures of the benchmark are made of, as pure functions.

Scores are fractions from 0 to 1. An edit's probes are averaged first, then the edits, so that an
edit with many probes weighs no more than one with few. Intervals come from resampling edits, never
probes: an edit's probes stand or fall together.

Legend: N edits, R resamples, T places of an answer's tokens, K candidates a place. This module
knows nothing about models or data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from balancedit.inputs.answers import same_answer
from balancedit.inputs.vqa import signs, vqa_answer

RESAMPLES = 2000

Scores = Sequence[float] | np.ndarray  # one score an edit, (N,); nan where an edit has none


@dataclass(frozen=True)
class Interval:
    """A figure over edits and its 95 % interval (percentile bootstrap); nan where no edit has a
    value."""

    mean: float
    low: float
    high: float
    n: int  # edits that have a value


def exact_match(answer: str, expected: str) -> bool:
    """True if two answers are the same one (`answers.same_answer`), or equal once normalised as VQA
    answers are (`vqa.vqa_answer`): that forgives articles, number words and punctuation, but not,
    as VQA's own scoring does, another sign ("-5" for "5", "A-" for "A+")."""
    if same_answer(answer, expected):
        return True
    normalised, wanted = vqa_answer(answer), vqa_answer(expected)
    return normalised == wanted != "" and signs(answer) == signs(expected)


def harmonic_mean(values: Sequence[float]) -> float:
    """The harmonic mean; 0 if any value is 0, nan if any is nan.

    Raises ValueError for no values and for negative ones.
    """
    if not len(values) or min(values) < 0:
        raise ValueError(f"a harmonic mean needs values of 0 or more, not {list(values)}")
    return float(_harmonic(np.asarray(values, dtype=float)))


def bootstrap(scores: Scores, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The mean score over edits. The same seed resamples the same edits, whatever the metric.

    Raises ValueError when there are no edits.
    """
    return _bootstrap([scores], resamples, seed)


def bootstrap_harmonic(
    columns: Sequence[Scores], resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The harmonic mean of several metrics' means, such as HM of T-Gen, I-Gen and Loc (paper,
    Section 4.1), all of the same edits; its interval is that of the harmonic means of each
    resample's means.

    Raises ValueError when there are no edits, or not equally many in all columns.
    """
    return _bootstrap(columns, resamples, seed)


def _bootstrap(columns: Sequence[Scores], resamples: int, seed: int) -> Interval:
    """The harmonic mean of the columns' means; of one column, that is its mean."""
    lengths = {len(column) for column in columns}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"every metric needs one score an edit, but they have {sorted(lengths)}")
    scores = np.asarray(columns, dtype=float)  # (M, N)
    n = scores.shape[-1]
    drawn = np.random.default_rng(seed).integers(0, n, size=(resamples, n))  # (R, N)
    resampled = _harmonic(np.stack([_mean(column[drawn]) for column in scores]))  # (R,)
    resampled = resampled[~np.isnan(resampled)]
    low, high = np.percentile(resampled, (2.5, 97.5)) if resampled.size else (np.nan, np.nan)
    valued = int((~np.isnan(scores)).sum(-1).min())
    return Interval(float(_harmonic(_mean(scores))), float(low), float(high), valued)


def token_accuracy(gold: Sequence[int], top: Sequence[Sequence[int]]) -> float:
    """Teacher forcing: the share of an answer's tokens that are the most likely ones there.

    gold: (T,) token ids. top: (T, K) the ids most likely at each place, most likely first. Raises
    ValueError when the lengths differ or there is no token.
    """
    if len(gold) != len(top) or not gold:
        raise ValueError(f"{len(top)} predictions do not match {len(gold)} tokens")
    return sum(ids[0] == token for token, ids in zip(gold, top, strict=True)) / len(gold)


def top_k_agreement(
    before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], k: int = 10
) -> float:
    """The share of (place, rank) pairs at which two models' k most likely tokens are the same.

    before, after: (T, K) token ids of the same places, most likely first. With k = 1, the agreement
    of arg-max tokens (teacher-forced locality); with k = 10, what EasyEdit reports as image
    locality: "loc@10" here. Raises ValueError when the places differ or K < k.
    """
    if len(before) != len(after) or not before or any(len(p) < k for p in (*before, *after)):
        raise ValueError(f"cannot compare the top {k} of {len(before)} and {len(after)} places")
    same = [
        old == new
        for first, second in zip(before, after, strict=True)
        for old, new in zip(first[:k], second[:k], strict=True)
    ]
    return sum(same) / len(same)


def _mean(scores: np.ndarray) -> np.ndarray:
    """The mean of the last axis without its nans; nan where nothing is left."""
    held = ~np.isnan(scores)
    total, n = np.where(held, scores, 0.0).sum(-1), held.sum(-1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _harmonic(values: np.ndarray) -> np.ndarray:
    """The harmonic mean over the first axis: (M, …) -> (…)."""
    if len(values) == 1:  # the value itself, without rounding
        return values[0]
    with np.errstate(divide="ignore"):  # 1 / 0 is infinite, and its harmonic mean 0
        return len(values) / (1.0 / values).sum(0)
