"""The page at ``/``: static files of the package, under a policy that lets no other script run.

Anybody may fetch them; they hold nothing, and ask for a key.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from balancedit.serving.http import around
from balancedit.serving.http.errors import ApiError

router = APIRouter(include_in_schema=False)

#: What is served, by the end of its name; nothing else is.
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
#: Folders of the package whose files of those types are the page, and the picture that it offers.
_FOLDERS = ("serving/page", "assets/style")
_EXAMPLE = "assets/demo/owl.png"

#: Beside what all replies have: nothing that is text can become markup, whatever a script does.
POLICY = f"{around.POLICY}; require-trusted-types-for 'script'; trusted-types 'none'"


@dataclass(frozen=True)
class File:
    """A file as it is sent. tag: its ETag."""

    body: bytes
    type: str
    tag: str


@cache
def files() -> dict[str, File]:
    """Every file of the page by its name, read once."""
    package = resources.files("balancedit")
    found = {"owl.png": _file(package.joinpath(_EXAMPLE), "image/png")}
    for folder in _FOLDERS:
        for each in package.joinpath(folder).iterdir():
            kind = TYPES.get(each.name.rpartition(".")[2])
            if kind is not None:
                found[each.name] = _file(each, kind)
    return found


def _file(source: Traversable, kind: str) -> File:
    body = source.read_bytes()
    return File(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@router.api_route("/", methods=["GET", "HEAD"])
def page(request: Request) -> Response:
    """The page itself."""
    return _sent("index.html", request)


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
def part(name: str, request: Request) -> Response:
    """A script, style or picture of the page. 404 for any other name."""
    return _sent(name, request)


def _sent(name: str, request: Request) -> Response:
    """A file, or 304 where the browser has it. Names never reach a file system."""
    file = files().get(name)
    if file is None:
        raise ApiError(404, "the page has no such file; open / instead", code="not_found")
    headers = {
        "ETag": file.tag,
        "Cache-Control": "no-cache",  # kept, and asked about each time: there is no build to rename
    }
    if name == "index.html":
        headers["Content-Security-Policy"] = POLICY
    known = {tag.strip().removeprefix("W/") for tag in _if_none_match(request).split(",")}
    if file.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.type, headers=headers)


def _if_none_match(request: Request) -> str:
    return str(request.headers.get("If-None-Match", ""))
