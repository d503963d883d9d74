"""Contenders by name: method, preset, settings and layer."""

from __future__ import annotations

import pytest

from balancedit.bench.contenders import parse, parse_all
from balancedit.errors import InputError


def test_every_part_is_read() -> None:
    made = parse("balancedit:paper+alpha=0.3+distance=cosine@model.layers.3.mlp.up_proj")
    assert (made.method, made.preset, made.layer) == (
        "balancedit",
        "paper",
        "model.layers.3.mlp.up_proj",
    )
    assert made.options == {"alpha": 0.3, "distance": "cosine"}
    assert made.config()["alpha"] == 0.3
    assert made.config()["key"] == "mean"


def test_a_bare_name_is_the_recommended_preset() -> None:
    made = parse(" grace ")
    assert (made.name, made.preset, made.options, made.layer) == ("grace", "recommended", {}, None)


def test_none_is_a_value() -> None:
    assert parse("ft+lr=None").options == {"lr": None}


def test_several_keep_their_order_and_none_comes_twice() -> None:
    assert [c.name for c in parse_all("ft, grace,ft")] == ["ft", "grace"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("grave", "nearest: grace"),
        ("ft:papr", "nearest: paper"),
        ("ft+stepz=3", "nearest: steps"),
        ("ft+steps", "OPTION=VALUE"),
        ("ft+steps=many", "wrong kind"),
        ("ft+steps=0", "at least 1"),
        ("@layer", "names no method"),
    ],
)
def test_what_does_not_exist_is_named(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("+", r"\+")):
        parse(text)


def test_a_preset_for_those_that_name_none() -> None:
    made = parse_all("ft,balancedit:recommended,grace+epsilon=2@some.layer", "paper/blip2-opt")
    assert [(c.name, c.preset) for c in made] == [
        ("ft:paper/blip2-opt", "paper/blip2-opt"),
        ("balancedit:recommended", "recommended"),
        ("grace:paper/blip2-opt+epsilon=2@some.layer", "paper/blip2-opt"),
    ]
    assert parse(made[2].name) == made[2]
    assert parse("ft", "recommended").name == "ft"
