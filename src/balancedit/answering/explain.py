"""How a routing decision is put into words."""

from __future__ import annotations

from collections.abc import Mapping

from balancedit.types import Answer, Edit


def reason(answer: Answer, base: str, edits: Mapping[str, Edit]) -> str:
    """The routing decision in a sentence."""
    if answer.nearest is None:
        return "No edit is held, so the untouched model answers."
    edit = edits[answer.nearest]
    fact = f"{edit.id} ('{edit.question}' → '{edit.target}')"
    if answer.radius is None or answer.distance is None:
        which = "newest" if answer.distance is None else "nearest"
        return (
            f"Edit {fact}, the {which}, fires: {edit.method} has no radius and acts on every "
            f"prompt; the untouched model would say '{base}'."
        )
    if answer.fired is None and answer.distance <= answer.radius:
        return (
            f"No edit fires: the nearest, {fact}, lies at distance {answer.distance:.4g}, inside "
            f"its radius {answer.radius:.4g}, but the untouched model says '{base}' here, not the "
            f"fact's old answer '{edit.old_answer}'."
        )
    if answer.fired is None:
        return (
            f"No edit fires: the nearest, {fact}, lies at distance {answer.distance:.4g}, outside "
            f"its radius {answer.radius:.4g}."
        )
    return (
        f"Edit {fact} fires: it lies at distance {answer.distance:.4g}, inside its radius "
        f"{answer.radius:.4g}; the untouched model would say '{base}'."
    )
