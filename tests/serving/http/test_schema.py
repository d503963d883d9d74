"""The server keeps to its own schema, whatever is sent to it, and the committed one is this."""

from __future__ import annotations

import schemathesis

from serving.http import schema as committed
from serving.http.conformance import keeps_to_its_schema
from serving.http.conftest import MakeServer, Server

#: What a fake engine can stand in for; the endpoints of edits have a test of their own.
OURS = "^/(health|metrics|v1/(chat|models|session))"
WITHOUT_KEY = {"/health/live", "/health/ready", "/v1/session", "/", "/page/{name}"}


def test_the_committed_schema_is_the_servers() -> None:
    assert committed.FILE.read_text(encoding="utf-8") == committed.text(), (
        "run `python tests/serving/http/schema.py`"
    )


def test_every_endpoint_says_that_it_wants_a_key(server: Server) -> None:
    paths = server.client.get("/openapi.json").json()["paths"]
    open_to_all = {
        path
        for path, operations in paths.items()
        if any("security" not in operation for operation in operations.values())
    }
    assert open_to_all <= WITHOUT_KEY


def test_every_endpoint_says_how_it_fails(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert {"4XX", "5XX"} <= set(operation["responses"]), path
            assert "422" not in operation["responses"], path
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_server_keeps_to_its_schema(make_server: MakeServer) -> None:
    server = make_server(rate=1e6, burst=1e6)
    schema = schemathesis.openapi.from_asgi("/openapi.json", server.client.app)
    operations = [found.ok() for found in schema.include(path_regex=OURS).get_all_operations()]
    assert len(operations) >= 9
    for operation in operations:
        keeps_to_its_schema(operation, 10)
