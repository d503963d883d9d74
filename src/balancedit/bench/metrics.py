"""What the figures of the benchmark are made of, as pure functions.

Scores are fractions from 0 to 1. An edit's probes are averaged first, then the edits, so that an
edit with many probes weighs no more than one with few. Intervals come from resampling edits, never
probes: an edit's probes stand or fall together.

Legend: N edits, R resamples, T positions, V vocabulary. Logits may be torch tensors on any device
or numpy arrays; this module knows nothing about models or data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from balancedit.text import same_text, vqa_answer

IGNORED = -100  # label of positions that count for nothing, as transformers has it
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
    """True if two answers are equal once normalised as VQA answers are (`text.vqa_answer`); where
    that leaves nothing of either, if they are the same text."""
    said, wanted = vqa_answer(answer), vqa_answer(expected)
    return said == wanted if said or wanted else same_text(answer, expected)


def harmonic_mean(values: Sequence[float]) -> float:
    """The harmonic mean; 0 if any value is 0, nan if any is nan.

    Raises ValueError for no values and for negative ones.
    """
    if not len(values) or min(values) < 0:
        raise ValueError(f"a harmonic mean needs values of 0 or more, not {list(values)}")
    return float(_harmonic(np.asarray(values, dtype=float)))


def per_edit(outcomes: Sequence[Sequence[float]]) -> np.ndarray:
    """The mean outcome of each edit's probes, (N,); nan for an edit without any."""
    return np.array([np.mean(probes) if len(probes) else np.nan for probes in outcomes])


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


def token_accuracy(logits: Any, labels: Any) -> float:
    """Teacher forcing: the share of positions whose most likely token is the gold one.

    logits: (T, V), row t predicting labels[t]. labels: (T,) token ids, `IGNORED` where none counts.
    Raises ValueError when the lengths differ or no label counts.
    """
    predicted, gold = _array(logits).argmax(-1), _array(labels)
    if predicted.shape != gold.shape:
        raise ValueError(f"{predicted.shape} predictions do not match {gold.shape} labels")
    counted = gold != IGNORED
    if not counted.any():
        raise ValueError("no label counts: a target needs at least one token")
    return float((predicted == gold)[counted].mean())


def top_k_agreement(before: Any, after: Any, k: int = 10) -> float:
    """The share of (position, rank) pairs at which two models' k most likely tokens are the same.

    before, after: (T, V) logits of the same positions. With k = 1, the agreement of arg-max tokens
    (teacher-forced locality); with k = 10, what EasyEdit reports as image locality: "loc@10" here.
    Equal logits rank by token id. Raises ValueError when the shapes differ or V < k.
    """
    first, second = _array(before), _array(after)
    if first.shape != second.shape or not first.size or first.shape[-1] < k:
        raise ValueError(f"cannot compare the top {k} of {first.shape} and {second.shape} logits")
    return float((_top(first, k) == _top(second, k)).mean())


def _top(logits: np.ndarray, k: int) -> np.ndarray:
    """The k most likely tokens, most likely first: (…, V) -> (…, k)."""
    return np.argsort(-logits, axis=-1, kind="stable")[..., :k]


def _array(values: Any) -> np.ndarray:
    """A numpy array of a torch tensor (bfloat16 too, which numpy lacks) or of anything like one."""
    if not hasattr(values, "detach"):
        return np.asarray(values)
    tensor = values.detach().cpu()
    return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)


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
