"""The endpoints of edits keep to their own schema, whatever is sent to them."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from balancedit.store import MemoryStore
from serving.editors import FakeEditor, grown
from serving.fakes import FakeEngine
from serving.http.conftest import MakeServer, bearer
from store_cases import BINDING


@pytest.fixture
def described(make_server: MakeServer) -> Any:
    store = MemoryStore(BINDING)
    for number in range(3):
        grown(store, number)
    server = make_server(FakeEngine(editor=FakeEditor(store)), rate=1e6, burst=1e6)
    found = schemathesis.openapi.from_asgi("/openapi.json", server.client.app)
    return found.include(path_regex="^/v1/(edits(?!/preview)|explain|audit)")


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_endpoints_of_edits_keep_to_their_schema(case: Any) -> None:
    case.call_and_validate(
        headers=bearer("admin"),
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
    )
