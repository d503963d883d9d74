"""What answers the builder: a language model and an image model, local or behind an
OpenAI-compatible endpoint.

Keys come from the environment and are written nowhere. Calls that fail for a reason that passes
(no connection, a time-out, a rate limit, an error of the server's) are made again with growing
waits; others end the build, for every call would fail alike.
"""

from __future__ import annotations

import base64
import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from balancedit.errors import DataError, first_line

T = TypeVar("T")

KEY = "OPENAI_API_KEY"
_NO_KEY = "none"  # local servers want some key


class Unavailable(Exception):
    """A call that failed for a reason that may pass, as often as it was to be tried."""


@dataclass(frozen=True)
class Reply:
    """What a language model said, and the tokens it counted (None where it does not say)."""

    text: str
    tokens_in: int | None = None
    tokens_out: int | None = None


class Writer(Protocol):
    """A language model."""

    name: str

    def write(self, prompt: str, seed: int, example: tuple[str, str] | None) -> Reply:
        """Its reply; example: a prompt and its reply, to go before.

        Raises `Unavailable`, or `DataError` where no call can succeed.
        """
        ...

    def close(self) -> None:
        """Have calls that wait for another try give up; the build ends."""
        ...


class Painter(Protocol):
    """An image model."""

    name: str

    def paint(self, prompt: str, seed: int) -> bytes:
        """An encoded picture. Raises as `Writer.write`."""
        ...

    def close(self) -> None:
        """As `Writer.close`."""
        ...


@dataclass(frozen=True)
class Patience:
    """How calls to an endpoint are tried again: tries in all, and the first and longest wait in
    seconds; each wait doubles, with a random part."""

    tries: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 120.0


@dataclass
class Endpoint:
    """An OpenAI-compatible endpoint. base_url: None for OpenAI's own; key_name: the environment's
    variable with the key. Raises `DataError` without the extra `build`."""

    base_url: str | None
    key_name: str = KEY
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        openai = _library("openai")
        key = os.environ.get(self.key_name)
        if key is None and self.base_url is None:
            raise DataError(
                f"the environment has no {self.key_name}; set it to the endpoint's key, or name "
                "another variable with --key-name"
            )
        self._closing = threading.Event()
        self._client: Any = openai.OpenAI(
            base_url=self.base_url,
            api_key=key or _NO_KEY,
            max_retries=0,
            timeout=self.patience.timeout,
        )

    def close(self) -> None:
        """Have calls that wait for another try give up."""
        self._closing.set()

    def call(self, make: Callable[[Any], T]) -> T:
        """The result of a call on the client, tried again as `patience` has it."""
        openai, tenacity = _library("openai"), _library("tenacity")
        passing = (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError)
        waits = tenacity.wait_random_exponential(
            multiplier=self.patience.first_wait, max=self.patience.longest_wait
        )
        again = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(passing),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self.patience.tries),
                tenacity.stop_when_event_set(self._closing),
            ),
            wait=waits,
            sleep=tenacity.sleep_using_event(self._closing),
            reraise=True,
        )
        try:
            result: T = again(make, self._client)
            return result
        except passing as error:
            raise Unavailable(
                f"no answer after {self.patience.tries} tries ({_said(error)})"
            ) from error
        except openai.BadRequestError as error:  # such as a prompt that its filter refuses
            raise Unavailable(f"refused ({_said(error)})") from error
        except openai.APIStatusError as error:
            raise DataError(
                f"the endpoint refuses every call ({_said(error)}); check --llm, the base URL and "
                f"the key in {self.key_name}"
            ) from error
        except openai.APIError as error:  # a reply that is no reply
            raise Unavailable(f"an answer that cannot be read ({_said(error)})") from error


@dataclass
class EndpointWriter:
    """A language model behind an endpoint."""

    name: str
    endpoint: Endpoint
    max_tokens: int = 600
    temperature: float = 0.7

    def write(self, prompt: str, seed: int, example: tuple[str, str] | None) -> Reply:
        """See `Writer`."""
        messages = [{"role": "user", "content": prompt}]
        if example is not None:
            asked, reply = example
            before = [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
            messages = before + messages

        def make(client: Any) -> Any:
            return client.chat.completions.create(
                model=self.name,
                messages=messages,
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                seed=seed,
            )

        got = self.endpoint.call(make)
        try:
            text = got.choices[0].message.content
        except (AttributeError, IndexError, TypeError):
            text = None  # some servers answer 200 with something else
        usage = getattr(got, "usage", None)
        return Reply(
            text if isinstance(text, str) else "",
            getattr(usage, "prompt_tokens", None),
            getattr(usage, "completion_tokens", None),
        )

    def close(self) -> None:
        """See `Writer`."""
        self.endpoint.close()


@dataclass
class EndpointPainter:
    """An image model behind an endpoint."""

    name: str
    endpoint: Endpoint
    size: str = "512x512"

    def paint(self, prompt: str, seed: int) -> bytes:
        """See `Painter`; such endpoints take no seed."""

        def make(client: Any) -> Any:
            return client.images.generate(
                model=self.name, prompt=prompt, n=1, size=self.size, response_format="b64_json"
            )

        got = self.endpoint.call(make)
        try:
            return base64.b64decode(got.data[0].b64_json)
        except (AttributeError, IndexError, TypeError, ValueError):
            return b""  # the validator says that this is no picture

    def close(self) -> None:
        """See `Painter`."""
        self.endpoint.close()


class DiffusersPainter:
    """A text-to-image pipeline on this machine, SDXL-Turbo's settings by default.

    name: a hub name or a directory. Raises `DataError` where it cannot be loaded.
    """

    def __init__(
        self, name: str, steps: int = 1, guidance: float = 0.0, device: str | None = None
    ) -> None:
        diffusers = _library("diffusers")
        import torch

        self.name, self._steps, self._guidance = name, steps, guidance
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        kind = torch.float16 if device.startswith("cuda") else torch.float32
        try:
            pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(name, torch_dtype=kind)
            self._pipeline: Any = pipeline.to(device)
        except (OSError, ValueError) as error:
            raise DataError(
                f"the image model '{name}' cannot be loaded ({first_line(error)}); give a "
                "hub name or a directory of a diffusers text-to-image pipeline"
            ) from error
        self._pipeline.set_progress_bar_config(disable=True)
        self._lock = threading.Lock()  # pipelines keep state in their scheduler

    def paint(self, prompt: str, seed: int) -> bytes:
        """See `Painter`."""
        import torch

        with self._lock:
            image = self._pipeline(
                prompt,
                num_inference_steps=self._steps,
                guidance_scale=self._guidance,
                generator=torch.Generator("cpu").manual_seed(seed),
            ).images[0]
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()

    def close(self) -> None:
        """See `Painter`; nothing waits here."""


def _said(error: Exception) -> str:
    """The first line of an error, which must not repeat a key."""
    status = getattr(error, "status_code", None)
    message = (str(error).splitlines() or [""])[0][:200]
    if status in (401, 403):
        message = "it does not accept the key"
    return f"{status}: {message}" if status else message or type(error).__name__


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(
            f"building needs {name}; install it with `pip install 'balancedit[build]'`"
        ) from error
