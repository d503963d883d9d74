"""How the page's files are sent: their types, their policy, and when a browser has them already."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi comes with the extra `serve`")

from fake_server import Fake, make_app
from starlette.testclient import TestClient

from balancedit.serving.http import page

PAGE = resources.files("balancedit") / "serving" / "page"


@pytest.fixture
def client() -> Any:
    return TestClient(make_app(Fake()))


def test_every_file_is_sent_as_what_it_is(client: Any) -> None:
    names = {each.name for each in PAGE.iterdir()} | {"tokens.css", "controls.css", "owl.png"}
    assert set(page.files()) == names
    for name in names - {"index.html"}:
        reply = client.get(f"/page/{name}")
        assert reply.status_code == 200
        kind = {**page.TYPES, "png": "image/png"}[name.rpartition(".")[2]]
        assert reply.headers["Content-Type"] == kind


def test_the_page_names_only_what_is_there(client: Any) -> None:
    text = client.get("/").text
    named = set(re.findall(r'(?:src|href)="page/([^"]+)"', text))
    scripts = [each for each in PAGE.iterdir() if each.name.endswith(".js")]
    for script in scripts:
        named |= set(re.findall(r'from "\./([^"]+)"', script.read_text()))
        named |= set(re.findall(r'"page/([^"]+)"', script.read_text()))
    assert named | {"index.html"} == set(page.files())


def test_no_script_or_style_stands_in_the_page(client: Any) -> None:
    reply = client.get("/")
    policy = reply.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    for rule in ("default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'"):
        assert rule in policy
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on\w+=", reply.text) == []


def test_text_only_becomes_text() -> None:
    for script in PAGE.iterdir():
        if script.name.endswith(".js"):
            text = script.read_text()
            assert re.findall(r"(?:inner|outer|Adjacent)HTML|eval\(|Function\(", text) == []
            assert text.count("\n") < 300


def test_what_a_browser_has_is_not_sent_again(client: Any) -> None:
    first = client.get("/page/app.js")
    assert first.headers["Cache-Control"] == "no-cache"
    tag = first.headers["ETag"]
    for held in (tag, f'"other", W/{tag}'):
        again = client.get("/page/app.js", headers={"If-None-Match": held})
        assert (again.status_code, again.content) == (304, b"")
    assert client.get("/page/app.js", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.head("/").headers["ETag"] == client.get("/").headers["ETag"]


@pytest.mark.parametrize("name", ["..%2Fhttp%2Fpage.py", "none.js", "page.py", "%2Fetc%2Fpasswd"])
def test_nothing_else_is_sent(client: Any, name: str) -> None:
    assert client.get(f"/page/{name}").status_code == 404
