"""One of several processes that edit, revert and ask one store, run as `python store_worker.py
WEIGHTS STORE SECONDS SEED`. Prints, one JSON object a line, every edit and revert that was
acknowledged, every answer that was given, and at the end what it answers then."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import torch
from safetensors.torch import load_file

import tiny
from balancedit import Editor
from balancedit.errors import EditNotFoundError
from tiny.taught import QUESTION, REWORDED, STRANGE

PICTURES = (1, STRANGE)
WORDS = ("ab", "xyz")


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def main(weights: str, store: str, seconds: str, seed: str) -> None:
    torch.set_num_threads(1)
    model, processor = tiny.llava()
    model.load_state_dict(load_file(weights))
    editor = Editor.load(
        model,
        processor=processor,
        layer=tiny.LAST["llava"],
        edits=store,
        **{"lr": 0.5, "steps": 60, "alpha": 0.9},
    )
    chance = random.Random(int(seed))
    say(ready=True)
    sys.stdin.readline()  # all begin together
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        seen = chance.choice(PICTURES)
        what = chance.random()
        if what < 0.2:
            word = chance.choice(WORDS)
            edit = editor.edit(tiny.picture(seen), QUESTION, word, rephrasings=[REWORDED])
            say(edit=edit.id, picture=seen, target=word)
        elif what < 0.3 and (held := editor.edits()):
            wanted = chance.choice(held).id
            try:
                editor.revert(wanted)
                say(reverted=wanted)
            except EditNotFoundError:
                pass  # another process came first
        else:
            answer = editor.ask(tiny.picture(seen), QUESTION)
            say(picture=seen, fired=answer.fired, text=answer.text)
    say(done=True)
    sys.stdin.readline()  # all have ended
    for seen in PICTURES:
        answer = editor.ask(tiny.picture(seen), QUESTION)
        say(last=seen, fired=answer.fired, text=answer.text)


if __name__ == "__main__":
    main(*sys.argv[1:])
