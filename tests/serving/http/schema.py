"""The server's OpenAPI schema, as docs/openapi.json has it. ``python tests/serving/http/schema.py``
writes it anew; a test compares the two."""

from __future__ import annotations

import json
import sys
from pathlib import Path

FILE = Path(__file__).parents[3] / "docs" / "openapi.json"


def text() -> str:
    """The schema of a server as it comes."""
    from balancedit.serving.http.app import create_app
    from balancedit.serving.http.keys import HeldKeys
    from balancedit.serving.http.services import Services
    from serving.fakes import FakeEngine

    schema = create_app(Services(FakeEngine(), HeldKeys())).openapi()
    return json.dumps(schema, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    FILE.write_text(text(), encoding="utf-8")
