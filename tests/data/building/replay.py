"""An OpenAI-compatible endpoint that answers with written replies, some of them wrong.

Questions are numbered ("What brand is computer 7?"). Of the twenty, 7 and 13 are never answered
well; others are at the second try.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from balancedit.data.building.steps import (
    COUNTERFACTUAL,
    KIND,
    LOCALITY_ANSWER,
    PROMPTS,
    REPHRASES,
)

Messages = list[dict[str, str]]

NEVER_REPHRASED, NEVER_COUNTERED = 7, 13
OBJECTS = {"hp": "[an HP laptop on a desk]", "dell": "A Dell laptop."}
_WORDINGS = (
    "Which brand is computer {i}?",
    "Can you name the brand of computer {i}?",
    "What is the make of computer {i}?",
    "Who made computer {i}?",
    "Computer {i} is of which brand?",
    "Which company built computer {i}?",
    "What company is computer {i} from?",
    "Whose brand does computer {i} carry?",
    "What make is computer {i}?",
    "By which maker is computer {i}?",
)


def step_of(prompt: str) -> str:
    """Which step a prompt is of."""
    for step in (REPHRASES, LOCALITY_ANSWER, KIND, COUNTERFACTUAL):
        pieces = [re.escape(p) for p in re.split(r"\{\w+\}", PROMPTS[step])]
        if re.fullmatch(".*".join(pieces), prompt):
            return step
    return "object"


def reply(prompt: str, again: int) -> str:
    """The written reply to a prompt that was asked `again` times before."""
    number = re.search(r"computer (\d+)", prompt)
    i = int(number[1]) if number else -1
    step = step_of(prompt)
    if step == COUNTERFACTUAL:
        if i == NEVER_COUNTERED or (i == 3 and not again):
            return "[HP]"
        return "The counterfactual answer: [lenovo]"
    if step == REPHRASES:
        wordings = [w.format(i=i) for w in _WORDINGS]
        if i == NEVER_REPHRASED:
            return "Sure! Here are ten rephrasings.\n" + "\n".join(wordings[:1] * 10)
        if i == 4 and not again:
            return "\n".join(wordings[:9])
        return "Of course:\n" + "\n".join(f"{n}. {w}" for n, w in enumerate(wordings, 1))
    if step == LOCALITY_ANSWER:
        return "C: [lenovo]" if i == 6 and not again else "C: [dell]"
    if step == KIND:
        return "[text based], I think" if i == 8 else "[image-text based]"
    answer = re.search(r"answer: (\w+)\)", prompt)
    return OBJECTS[answer[1]] if answer else "?"


def painting(prompt: str, again: int) -> bytes:
    """A picture of one colour; the very first one asked for is black."""
    colour = "black" if not again else ("white" if "Dell" in prompt else (90, again * 40 % 200, 99))
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, "PNG")
    return out.getvalue()


class Endpoint(ThreadingHTTPServer):
    """The endpoint. calls: (path, prompt, seed) in their order.

    statuses: errors to answer with before anything else; always: one to answer with forever;
    nonsense: answer with other JSON; delay: seconds before an answer. write: (messages, times asked
    before) -> the reply.
    """

    daemon_threads = False  # closing waits for answers in flight

    def __init__(self, write: Callable[[Messages, int], str] | None = None) -> None:
        self._write = write or (lambda asked, again: reply(asked[-1]["content"], again))
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[tuple[str, str, int | None]] = []
        self.keys: set[str | None] = set()
        self.statuses: list[int] = []
        self.always: int | None = None
        self.nonsense, self.delay = False, 0.0
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """A status and a JSON value."""
        time.sleep(self.delay)
        with self._lock:
            if self.always or self.statuses:
                status = self.always or self.statuses.pop(0)
                return status, {"error": {"message": "the endpoint's error", "code": status}}
            images = path.endswith("/images/generations")
            prompt = body["prompt"] if images else body["messages"][-1]["content"]
            again = self._asked[prompt]
            self._asked[prompt] += 1
            self.calls.append((path, prompt, body.get("seed")))
        if self.nonsense:
            return 200, {"hello": "world"}
        if images:
            data = base64.b64encode(painting(prompt, again)).decode()
            return 200, {"created": 1, "data": [{"b64_json": data}]}
        message = {"role": "assistant", "content": self._write(body["messages"], again)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
        return 200, {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.add(self.headers.get("Authorization"))
        status, value = self.server.answer(self.path, body)
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass
