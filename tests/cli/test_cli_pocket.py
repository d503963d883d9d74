"""The command line on the default model, for real."""

from __future__ import annotations

from pathlib import Path

import pytest

QUESTION = "What is this?"


pytestmark = pytest.mark.usefixtures("shared_pocket")


def test_ask_edit_explain_revert(run) -> None:
    before = run("ask", "demo:owl", QUESTION, "--json").json
    assert before["answer"] == "owl"
    colour = run("ask", "demo:owl", "Which colour is the background?", "--json").json
    edit = run("edit", "demo:owl", QUESTION, "hedwig", "--json").json
    assert (edit["answer_before"], edit["answer_after"]) == ("owl", "hedwig")
    assert edit["warnings"] == []
    after = run("ask", "demo:owl", QUESTION, "--json").json
    assert (after["answer"], after["fired"]) == ("hedwig", edit["id"])
    kept = run("ask", "demo:owl", "Which colour is the background?", "--json").json
    assert (kept["answer"], kept["fired"]) == (colour["answer"], None)
    why = run("explain", "demo:elephant", QUESTION, "--json").json
    assert (why["answer"], why["fired"]) == ("elephant", None)
    assert why["distance"] > why["radius"]
    assert run("revert", edit["id"]).code == 0
    assert run("ask", "demo:owl", QUESTION, "--json").json == before


@pytest.mark.slow  # the documentation's test runs the demo too, and compares every ✓ of it
def test_demo(run) -> None:
    found = run("demo", "--json").json
    assert found["undone"]["logits_equal"]
    assert found["answers"][0]["answer_after"] == "hedwig"
    assert found["seconds"] < 90
    assert found["as_hoped"] >= found["checks"] - 2
    assert Path("balancedit-demo.png").exists()


def test_two_pictures_in_one_prompt(run) -> None:
    both = ["demo:owl", "What is this?", "--image", "demo:swan"]
    base = run("ask", *both, "--json").json
    made = run("edit", "demo:owl", "What is this?", "zebra", *both[2:], "--json").json
    assert made["answer_before"] == base["answer"]
    assert made["answer_after"] == "zebra"
    assert run("ask", *both, "--json").json["fired"] == made["id"]
    run("revert", made["id"])
    assert run("ask", *both, "--json").json == base
